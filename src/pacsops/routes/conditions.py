"""The conditions of the route language: pure, total, and able to say what they ask for.

A condition looks at one DICOM value as text. A tag that is absent or empty satisfies no positive condition,
hence every negative one. Of a multi-valued attribute (components separated by a backslash, PS3.5 section 6.4) the
whole and each component are looked at: one that satisfies is enough. All comparisons ignore case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import re2

_PADDING = " \0"
"""DICOM pads values to even length with a space, UIDs with NUL (PS3.5 sections 6.2 and 9.1)."""

_PATTERN_MEMORY = 256 * 1024
"""Bytes one compiled pattern may take. What people write needs a hundredth; a file of bombs must not eat the host."""


class PatternRefused(ValueError):
    """A regular expression that RE2 does not take; the message says why in plain words."""


class Condition(Protocol):
    """Something a tag's value satisfies or not."""

    def holds(self, value: str | None) -> bool: ...


def unpadded(value: str | None) -> str:
    return (value or "").strip(_PADDING)


def readings(value: str | None) -> tuple[str, ...]:
    """The texts a positive condition may hold for: the whole value, then its components; none when absent."""
    whole = unpadded(value)
    if "\\" not in whole:
        return (whole,) if whole else ()
    components = [component.strip(_PADDING) for component in whole.split("\\")]
    return (whole, *(component for component in components if component))


@dataclass(frozen=True, slots=True)
class Equals:
    """The same text (routes.yml `equals`)."""

    expected: str

    def holds(self, value: str | None) -> bool:
        expected = unpadded(self.expected).casefold()
        return any(text.casefold() == expected for text in readings(value))

    def __str__(self) -> str:
        return f"equals {self.expected!r}"


@dataclass(frozen=True, slots=True)
class Contains:
    """A substring (routes.yml `contains`)."""

    needle: str

    def holds(self, value: str | None) -> bool:
        needle = self.needle.casefold()
        return any(needle in text.casefold() for text in readings(value))

    def __str__(self) -> str:
        return f"contains {self.needle!r}"


@dataclass(frozen=True, slots=True)
class StartsWith:
    """A beginning (routes.yml `starts_with`)."""

    beginning: str

    def holds(self, value: str | None) -> bool:
        beginning = self.beginning.casefold()
        return any(text.casefold().startswith(beginning) for text in readings(value))

    def __str__(self) -> str:
        return f"starts_with {self.beginning!r}"


@dataclass(frozen=True, slots=True)
class EndsWith:
    """An end (routes.yml `ends_with`)."""

    end: str

    def holds(self, value: str | None) -> bool:
        end = self.end.casefold()
        return any(text.casefold().endswith(end) for text in readings(value))

    def __str__(self) -> str:
        return f"ends_with {self.end!r}"


@dataclass(frozen=True, slots=True)
class Matches:
    """An RE2 regular expression found anywhere in the value, in time linear in its length (`matches`).

    Raises:
        PatternRefused: RE2 cannot compile `pattern`.
    """

    pattern: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compiled(self.pattern))

    def holds(self, value: str | None) -> bool:
        return any(self._compiled.search(text.encode(errors="replace")) for text in readings(value))

    def __str__(self) -> str:
        return f"matches {self.pattern!r}"


@dataclass(frozen=True, slots=True)
class In:
    """Equal to one of several texts (routes.yml `in`)."""

    expected: tuple[str, ...]

    def holds(self, value: str | None) -> bool:
        return any(Equals(expected).holds(value) for expected in self.expected)

    def __str__(self) -> str:
        return f"in {list(self.expected)!r}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition (routes.yml `not_equals`, `not_contains`, `not_in`)."""

    condition: Condition

    def holds(self, value: str | None) -> bool:
        return not self.condition.holds(value)

    def __str__(self) -> str:
        return f"not_{self.condition}"


OF_ONE_TEXT: Mapping[str, Callable[[str], Condition]] = MappingProxyType(
    {
        "equals": Equals,
        "not_equals": lambda text: Not(Equals(text)),
        "contains": Contains,
        "not_contains": lambda text: Not(Contains(text)),
        "starts_with": StartsWith,
        "ends_with": EndsWith,
        "matches": Matches,
    }
)
OF_SEVERAL_TEXTS: Mapping[str, Callable[[tuple[str, ...]], Condition]] = MappingProxyType(
    {"in": In, "not_in": lambda texts: Not(In(texts))}
)
NAMES: tuple[str, ...] = (*OF_ONE_TEXT, *OF_SEVERAL_TEXTS)


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        raise PatternRefused(
            _in_plain_words(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason))
        ) from None


_ABSENT_FROM_RE2 = {
    "invalid perl operator: (?=": "lookahead (?=…)",
    "invalid perl operator: (?!": "negative lookahead (?!…)",
    "invalid perl operator: (?<": "lookbehind (?<=…) or (?<!…)",
    "invalid perl operator: (?>": "atomic groups (?>…)",
    "invalid perl operator: (?P": "backreferences (?P=name)",
    "bad repetition operator: ++": "possessive repetition (a++)",
    "bad repetition operator: *+": "possessive repetition (a*+)",
    "bad repetition operator: ?+": "possessive repetition (a?+)",
}


def _in_plain_words(reason: str) -> str:
    for beginning, feature in _ABSENT_FROM_RE2.items():
        if reason.startswith(beginning):
            return f"RE2 has no {feature}; say it with another condition, such as not_contains, beside it"
    escape = reason.removeprefix("invalid escape sequence: \\")
    if escape != reason and escape[:1].isdigit():
        return f"RE2 has no backreferences (\\{escape[:1]})"
    if reason.startswith("pattern too large"):
        return "it grows too large when compiled; repeat less"
    return reason[:120]
