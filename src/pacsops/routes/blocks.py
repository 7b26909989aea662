"""A mapping of the file, key by key: reads values of the expected kind, reports every other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import yaml

from pacsops.routes import durations
from pacsops.routes.document import position
from pacsops.routes.problems import Position, Problems, shown

_KINDS = {
    "tag:yaml.org,2002:map": "a mapping",
    "tag:yaml.org,2002:seq": "a list",
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:merge": "text",
    "tag:yaml.org,2002:value": "text",
}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
"""Those of YAML 1.2, so that editors agree; `yes` and `on` are text there."""

Choice = TypeVar("Choice", bound=StrEnum)


class Report(Protocol):
    """Notes a problem of one route; see `Problems.add`."""

    def __call__(
        self,
        at: Position,
        message: str,
        *,
        allowed: str | None = None,
        misspelt: str | None = None,
        candidates: Iterable[str] = (),
    ) -> None: ...


def report_of(problems: Problems, route: str | None) -> Report:
    def report(
        at: Position,
        message: str,
        *,
        allowed: str | None = None,
        misspelt: str | None = None,
        candidates: Iterable[str] = (),
    ) -> None:
        problems.add(at, message, route=route, allowed=allowed, misspelt=misspelt, candidates=candidates)

    return report


def kind(node: yaml.Node) -> str:
    """What stands there, in words for a message."""
    return _KINDS.get(node.tag, f"a value tagged {shown(node.tag)}")


def is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and kind(node) == "a mapping"


def is_sequence(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode) and kind(node) == "a list"


def start(node: yaml.Node) -> Position:
    return position(node.start_mark)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping: where the key stands, and its value."""

    at: Position
    node: yaml.Node


class Block:
    """The entries of one mapping node, each key at most once and, when `keys` says which, none but those."""

    def __init__(self, node: yaml.Node, report: Report, keys: Collection[str] | None = None) -> None:
        self.at = start(node)
        self.entries: dict[str, Entry] = {}
        self._report = report
        for key_node, value in node.value:
            at = start(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                report(at, f"a key must be text, this is {kind(key_node)}")
                continue
            key = key_node.value
            if key == "<<":
                report(at, "merge keys (`<<`) are not part of routes.yml; write the keys out")
            elif key in self.entries:
                report(at, f"the key {shown(key)} is given twice, first in line {self.entries[key].at.line}")
            elif keys is not None and key not in keys:
                report(at, f"unknown key {shown(key)}", allowed=", ".join(keys), misspelt=key, candidates=keys)
            else:
                self.entries[key] = Entry(at, value)

    def node(self, key: str) -> yaml.Node | None:
        entry = self.entries.get(key)
        return entry.node if entry else None

    def require(self, key: str, remedy: str) -> yaml.Node | None:
        """The value of `key`; a missing one is a problem that says what to write."""
        node = self.node(key)
        if node is None:
            self._report(self.at, f"`{key}` is missing; {remedy}")
        return node

    def block(self, key: str, keys: Collection[str] | None) -> Block | None:
        """The mapping under `key`, None when it is absent or no mapping."""
        node = self.node(key)
        if node is None:
            return None
        if not is_mapping(node):
            wanted = f"keys ({', '.join(keys)})" if keys else "fields"
            self._report(start(node), f"`{key}` is {kind(node)}, expected {wanted} indented under it")
            return None
        return Block(node, self._report, keys)

    def text(self, key: str, default: str) -> str:
        node = self.node(key)
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode) or kind(node) != "text":
            self._report(start(node), f"`{key}` is {kind(node)}, expected text; put it in quotes")
            return default
        return str(node.value)

    def boolean(self, key: str, default: bool) -> bool:
        node = self.node(key)
        if node is None:
            return default
        if kind(node) != "true or false" or node.value not in _BOOLEANS:
            self._report(start(node), f"`{key}` is {_what(node)}", allowed="true, false")
            return default
        return _BOOLEANS[node.value]

    def whole_number(self, key: str, default: int, low: int, high: int) -> int:
        return int(self._number(key, default, low, high, r"[+-]?(0|[1-9][0-9]{0,9})", "whole numbers"))

    def seconds(self, key: str, default: float, low: int, high: int) -> float:
        return self._number(key, default, low, high, r"[+-]?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?", "seconds")

    def duration(self, key: str, longest: str) -> int | None:
        """Seconds, from text such as `20m`; None when the key is absent."""
        node = self.node(key)
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode) and kind(node) == "text":
            seconds = durations.seconds_of(node.value)
            if seconds is not None and seconds <= (durations.seconds_of(longest) or 0):
                return seconds
        self._report(start(node), f"`{key}` is {_what(node)}", allowed=f"90s, 20m, 2h, 1d, up to {longest}")
        return None

    def _number(self, key: str, default: float, low: int, high: int, form: str, unit: str) -> float:
        node = self.node(key)
        if node is None:
            return default
        if kind(node) == "a number" and re.fullmatch(form, node.value) and low <= float(node.value) <= high:
            return float(node.value)
        self._report(start(node), f"`{key}` is {_what(node)}", allowed=f"{unit} from {low} to {high}")
        return default

    def choice(self, key: str, default: Choice) -> Choice:
        """One of the members of `default`'s enumeration."""
        node = self.node(key)
        if node is None:
            return default
        members = {str(member): member for member in type(default)}
        if isinstance(node, yaml.ScalarNode) and node.value in members:
            return members[node.value]
        self._report(
            start(node),
            f"`{key}` is {_what(node)}",
            allowed=", ".join(members),
            misspelt=str(node.value) if isinstance(node, yaml.ScalarNode) else None,
            candidates=members,
        )
        return default


def _what(node: yaml.Node) -> str:
    """The value as written where that is short, else its kind."""
    if isinstance(node, yaml.ScalarNode) and kind(node) != "nothing":
        return f"the text {shown(node.value)}" if node.style in {"'", '"'} else shown(node.value)
    return kind(node)
