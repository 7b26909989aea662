"""From one element of an encoded data set to the next, decoding nothing.

Source: PS3.5 7.1 (elements), 7.5 (sequences), 6.2.2 (UN)
"""

from __future__ import annotations

import struct
from typing import Final

from pacsops.dicom.errors import UnreadableDataSet

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
UNDEFINED: Final = 0xFFFFFFFF
"""The length of what ends by a delimiter."""
DEEPEST: Final = 32
"""Sequences within each other that are followed."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS: Final = 0xFFFE
_SHORT_FORM: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_FORM: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_KNOWN: Final = _SHORT_FORM | _LONG_FORM


class CutShort(Exception):
    """The bytes end before the element does."""


class Elements:
    """The elements of a data set. Positions are offsets in `data`, which may hold the data set's beginning only.

    A data set whose first element has (or lacks) a value representation against its transfer syntax is read as it is.
    """

    def __init__(self, data: memoryview, transfer_syntax_uid: str) -> None:
        self._data = data
        self._end = len(data)
        self.order = ">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<"
        """Byte order, as `struct` writes it."""
        self._implicit_head = struct.Struct(f"{self.order}HHL").unpack_from
        self._explicit_head = struct.Struct(f"{self.order}HH2sH").unpack_from
        self._length = struct.Struct(f"{self.order}L").unpack_from
        first = bytes(data[4:6])
        if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
            self.explicit = first in _KNOWN
        else:
            self.explicit = first.isalpha() and first.isupper()

    def head(self, at: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, value representation (none where implicit), length and where the value begins.

        Raises:
            CutShort: there is no head any more.
        """
        value = at + 8
        if value > self._end:
            raise CutShort
        if explicit:
            group, element, representation, length = self._explicit_head(self._data, at)
            if representation in _SHORT_FORM:
                return group << 16 | element, representation, length, value
            if group != _DELIMITERS:
                # A representation nobody knows yet has the long form.
                if value + 4 > self._end:
                    raise CutShort
                return group << 16 | element, representation, self._length(self._data, value)[0], value + 4
        group, element, length = self._implicit_head(self._data, at)
        return group << 16 | element, b"", length, value

    def value(self, at: int, length: int) -> bytes:
        """`length` bytes of a value.

        Raises:
            CutShort: there are fewer.
        """
        if at + length > self._end:
            raise CutShort
        return bytes(self._data[at : at + length])

    def behind_sequence(self, at: int, explicit: bool) -> int:
        """Where a sequence of undefined length ends whose first item begins at `at`.

        Args:
            explicit: whether its items' elements say their value representation; those of UN never do.

        Raises:
            CutShort: it has no end here.
            UnreadableDataSet: it is no sequence, or too deep.
        """
        # What is open, from outside inwards: sequences (True) and items of undefined length, and how each is encoded.
        within = [(True, explicit)]
        while within:
            in_sequence, explicit = within[-1]
            tag, representation, length, at = self.head(at, explicit)
            if tag == (_SEQUENCE_END if in_sequence else _ITEM_END):
                within.pop()
            elif in_sequence is not (tag == _ITEM) or tag == _SEQUENCE_END:
                raise UnreadableDataSet(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) stands in a sequence where none may")
            elif length != UNDEFINED:
                at += length
            elif len(within) >= 2 * DEEPEST:
                raise UnreadableDataSet(f"more than {DEEPEST} sequences within each other")
            else:
                within.append((not in_sequence, explicit and representation != b"UN"))
        return at
