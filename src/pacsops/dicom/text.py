"""Text in data sets: bytes and a Specific Character Set to characters.

Never an error: what a character set does not know becomes U+FFFD, and an unknown character set is read as Latin-1.

Source: PS3.3 C.12.1.1.2, PS3.5 6.1
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

Encodings = tuple[str, ...]
"""Python's names of codecs; the first holds until an escape sequence says otherwise."""

_UNKNOWN: Final = "latin-1"
_ESCAPE: Final = b"\x1b"
_READ_THEIR_ESCAPES: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
"""Codecs that want the escape sequence itself."""
_SPELLINGS: Final = re.compile(r"ISO[ _]?(IR|2022 IR|2022_IR)[ _-]?(\d+)")


@lru_cache(maxsize=256)
def encodings(specific_character_set: bytes) -> Encodings:
    """The codecs of a value of (0008,0005)."""
    terms = [term.strip(" \0") for term in specific_character_set.decode("latin-1").split("\\")]
    return tuple(_codec(term) for term in terms)


def _codec(term: str) -> str:
    known: str | None = python_encoding.get(term)
    if known is None and (spelling := _SPELLINGS.fullmatch(term)):  # underscores and hyphens are seen in the field
        family = "ISO_IR" if spelling[1] == "IR" else "ISO 2022 IR"
        known = python_encoding.get(f"{family} {spelling[2]}")
    return known or _UNKNOWN


def decoded(value: bytes, codecs: Encodings) -> str:
    """The characters of a value, padding and all."""
    if _ESCAPE not in value:
        return value.decode("ascii") if value.isascii() else value.decode(codecs[0], "replace")
    first, *escaped = value.split(_ESCAPE)
    return first.decode(codecs[0], "replace") + "".join(_escaped(_ESCAPE + piece) for piece in escaped)


def _escaped(piece: bytes) -> str:
    """What follows an escape sequence, up to the next one (PS3.5 6.1.2.5)."""
    for length in (3, 4):
        codec = CODES_TO_ENCODINGS.get(piece[:length])
        if codec is not None:
            return piece[0 if codec in _READ_THEIR_ESCAPES else length :].decode(codec, "replace")
    return piece[1:].decode(_UNKNOWN)
