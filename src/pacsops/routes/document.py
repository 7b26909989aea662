"""A text of YAML, such as routes.yml, as a tree of nodes, within bounds that hold for hostile text too.

Nothing is ever constructed from a tag such as `!!python/object`: the tree holds text and positions only.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Protocol, cast

import yaml

from pacsops.routes.problems import Position, Problems

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
"""Levels of nesting; the language needs seven."""
MAX_NODES = 50_000
"""Values in the file, with every alias counted as what it stands for; about 2000 routes."""


class Mark(Protocol):
    """Where PyYAML or libyaml saw something, counted from 0."""

    line: int
    column: int


def position(mark: Mark | None) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def compose(text: str, problems: Problems) -> yaml.Node | None:
    """The root node. None when there is none: `problems` then has the reason, unless the text is empty."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        problems.add(Position(line, 1), "the file holds half a character (a lone surrogate)")
        return None
    if len(encoded) > MAX_BYTES:
        problems.add(Position(1, 1), f"the file has {len(encoded)} bytes, more than {MAX_BYTES}")
        return None
    try:
        if not _is_bounded(text, problems):
            return None
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.reader.ReaderError as error:
        line = encoded.count(b"\n", 0, error.position) + 1
        problems.add(Position(line, 1), "the file holds a control character; it is not plain text")
        return None
    except yaml.MarkedYAMLError as error:
        at = position(error.problem_mark or error.context_mark)
        problems.add(at, f"this is not valid YAML: {_in_plain_words(error, text, at)}")
        return None
    return root


def _is_bounded(text: str, problems: Problems) -> bool:
    """Walk the events, which take no memory, before a tree is built from them."""
    depth = nodes = documents = 0
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    # closing: libyaml's parser must not wait for the garbage collector when the walk ends early.
    with closing(cast(Generator[yaml.Event], yaml.parse(text, Loader=yaml.CSafeLoader))) as events:
        for event in events:
            at = position(event.start_mark)
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        problems.add(at, "a second document begins here (`---`); the file is one document")
                        return False
                case yaml.CollectionStartEvent():
                    depth += 1
                    nodes += 1
                    open_anchors.append((event.anchor, nodes))
                case yaml.CollectionEndEvent():
                    depth -= 1
                    anchor, before = open_anchors.pop()
                    if anchor is not None:
                        sizes[anchor] = nodes - before + 1
                case yaml.AliasEvent():
                    if any(anchor == event.anchor for anchor, _ in open_anchors):
                        problems.add(at, f"the alias *{event.anchor} stands inside what it stands for")
                        return False
                    nodes += sizes.get(str(event.anchor), 1)
                case yaml.ScalarEvent():
                    nodes += 1
                    if event.anchor is not None:
                        sizes[event.anchor] = 1
            if depth > MAX_DEPTH:
                problems.add(at, f"nested more than {MAX_DEPTH} levels deep")
                return False
            if nodes > MAX_NODES:
                problems.add(at, f"more than {MAX_NODES} values, aliases written out")
                return False
    return True


def _in_plain_words(error: yaml.MarkedYAMLError, text: str, at: Position) -> str:
    lines = text.splitlines()
    line = lines[at.line - 1] if at.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or line[at.column - 1 : at.column] == "\t":
        return "a tab; YAML indents with spaces"
    return ", ".join(part for part in (error.problem, error.context) if part)
