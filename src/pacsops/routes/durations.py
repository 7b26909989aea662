"""Durations as people write them in routes.yml: a whole number and its unit, `90s`, `20m`, `2h`, `1d`."""

from __future__ import annotations

import re

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
PATTERN = "^[1-9][0-9]{0,6}[smhd]$"
"""Of a duration, for the JSON Schema too."""


def seconds_of(text: str) -> int | None:
    """The seconds a text such as `20m` means; None when it is no duration."""
    return int(text[:-1]) * _UNITS[text[-1]] if re.fullmatch(PATTERN.strip("^$"), text) else None


def as_text(seconds: float) -> str:
    """The shortest spelling of a whole number of seconds: 1200 is `20m`, 90 is `90s`."""
    for unit, length in _UNITS.items():
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{seconds:g}s"
