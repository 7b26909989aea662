"""What the code can say to an operator, read from the code: `…` stands for what is filled in when it is said."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).parents[2] / "src" / "pacsops"

_REPORTS = frozenset({"warning", "error", "report", "unseen", "Finding"})
_LEAST_OWN_WORDS = 10  # letters: less says nothing that could be looked up


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the hint or recommendation with it; empty where it is put together at run time."""

    message: str
    hint: str


def of_check(module: ModuleType, function: str) -> list[Said]:
    """What the check of this function finds wrong, also by the functions of its module that it calls."""
    functions = {
        node.name: node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.FunctionDef)
    }
    reached, waiting = set(), [function]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in functions:
            continue
        reached.add(name)
        waiting += [each.id for each in ast.walk(functions[name]) if isinstance(each, ast.Name)]
    calls = [
        node
        for name in sorted(reached)
        for node in ast.walk(functions[name])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _REPORTS
    ]
    found = []
    for call in sorted(calls, key=lambda call: call.lineno):
        keywords = {each.arg: _text(each.value) for each in call.keywords}
        said = [_text(each) for each in call.args] or [
            keywords.get("message", ""),
            keywords.get("recommendation", ""),
        ]
        if _has_words(said[0]):
            found.append(Said(said[0], said[1] if len(said) > 1 and _has_words(said[1]) else ""))
    return found


@cache
def of_errors() -> tuple[tuple[str, Said], ...]:
    """The class of every error that is raised with words of its own, and what it says."""
    return tuple(_errors())


def _errors() -> Iterator[tuple[str, Said]]:
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                name = getattr(node.exc.func, "id", "")
                hints = [_text(each.value) for each in node.exc.keywords if each.arg == "hint"]
                message = _text(node.exc.args[0])
                if name and _has_words(message):
                    yield name, Said(message, hints[0] if hints else "")


def hints() -> Iterator[str]:
    """Every text of the package, as it is said."""
    for path in sorted(SOURCES.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts
            ):
                yield _text(node)


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return re.sub("…+", "…", "".join(_text(value) for value in values))
        case ast.BinOp(left=left, right=right):
            return re.sub("…+", "…", _text(left) + _text(right))
        case ast.BoolOp(values=[*_, last]):
            return _text(last)
        case _:
            return "…"


def _has_words(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]", text)) >= _LEAST_OWN_WORDS
