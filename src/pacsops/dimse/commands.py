"""DIMSE command sets: what is asked and answered, in implicit VR little endian.

Source: PS3.7 6.3, 9.3, annex E
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from pacsops.dimse.errors import ProtocolViolation
from pacsops.dimse.items import LONGEST_UID, Bytes, text

MAXIMUM_LENGTH: Final = 64 << 10
"""Bytes of the longest command set read; one of C-STORE has some 250."""
_NO_DATA_SET: Final = 0x0101
_ELEMENT = struct.Struct("<HHI")
_RESPONSE: Final = 0x8000


class Operation(IntEnum):
    """Command Field (0000,0100) of the requests; a response has bit 15 set besides."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    C_CANCEL = 0x0FFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command set. None and empty mean that an element is not there."""

    field: int
    """Command Field (0000,0100)."""
    sop_class_uid: str = ""
    message_id: int | None = None
    responded_to: int | None = None
    priority: int | None = None
    data_set: bool = False
    """Whether a data set follows."""
    status: int | None = None
    offending: tuple[int, ...] = ()
    """Tags of the elements that a failure is about."""
    comment: str = ""
    sop_instance_uid: str = ""
    move_originator_aet: str = ""
    move_originator_message_id: int | None = None

    @property
    def response(self) -> bool:
        return bool(self.field & _RESPONSE)

    def answer(self, status: int, comment: str = "", *, data_set: bool = False) -> Command:
        """The response to this request. What is no UID by its length is not said again: it may fill a command set,
        and an answer of bytes outside ASCII four of them, which some peers take in PDUs of a byte each.
        """
        return Command(
            field=self.field | _RESPONSE,
            sop_class_uid=_said_again(self.sop_class_uid),
            responded_to=self.message_id,
            data_set=data_set,
            status=status,
            comment=comment[:64],
            sop_instance_uid=_said_again(self.sop_instance_uid),
        )

    def encode(self) -> bytes:
        """The command set, elements in order, with its group length.

        Raises:
            ValueError: a UID or AE title is not ASCII.
        """
        parts = [
            _uid(0x0002, self.sop_class_uid),
            _number(0x0100, self.field),
            _number(0x0110, self.message_id),
            _number(0x0120, self.responded_to),
            _number(0x0700, self.priority),
            _number(0x0800, 0x0000 if self.data_set else _NO_DATA_SET),
            _number(0x0900, self.status),
            _tags(0x0901, self.offending),
            _text(0x0902, self.comment.encode("ascii", "replace").decode()),
            _uid(0x1000, self.sop_instance_uid),
            _text(0x1030, self.move_originator_aet),
            _number(0x1031, self.move_originator_message_id),
        ]
        body = b"".join(parts)
        return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body

    @classmethod
    def decode(cls, content: Bytes) -> Command:
        """Elements of other commands are passed over; of one that is there twice the last holds.

        Raises:
            ProtocolViolation: no command set.
        """
        found: dict[str, Any] = {}
        view, at, end = memoryview(content), 0, len(content)
        while at < end:
            if end - at < _ELEMENT.size:
                raise ProtocolViolation("a command set is cut off")
            group, element, length = _ELEMENT.unpack_from(view, at)
            at += _ELEMENT.size
            if group != 0 or length > end - at:
                raise ProtocolViolation(f"({group:04X},{element:04X}) does not fit into a command set")
            if element in _READERS:
                name, read = _READERS[element]
                found[name] = read(view[at : at + length])
            at += length
        if found.get("field") is None:
            raise ProtocolViolation("a command set without Command Field (0000,0100)")
        if found.get("message_id") is None and found.get("responded_to") is None:
            raise ProtocolViolation("a command set without a message id")
        return cls(**found)


def _said_again(uid: str) -> str:
    return uid if len(uid) <= LONGEST_UID else ""


def _uid(element: int, value: str) -> bytes:
    return _encoded(element, value.encode("ascii"), b"\0")


def _text(element: int, value: str) -> bytes:
    return _encoded(element, value.encode("ascii"), b" ")


def _number(element: int, value: int | None) -> bytes:
    return b"" if value is None else _ELEMENT.pack(0, element, 2) + value.to_bytes(2, "little")


def _tags(element: int, tags: tuple[int, ...]) -> bytes:
    return _encoded(element, b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags), b"")


def _encoded(element: int, value: bytes, padding: bytes) -> bytes:
    if not value:
        return b""
    if len(value) % 2:
        value += padding
    return _ELEMENT.pack(0, element, len(value)) + value


def _read_number(value: memoryview) -> int | None:
    if not value:
        return None
    if len(value) != 2:
        raise ProtocolViolation(f"a number of a command set has {len(value)} bytes")
    return int.from_bytes(value, "little")


def _read_data_set(value: memoryview) -> bool:
    return _read_number(value) != _NO_DATA_SET


def _read_tags(value: memoryview) -> tuple[int, ...]:
    return tuple(group << 16 | element for group, element in struct.iter_unpack("<HH", value[: len(value) & ~3]))


def _read_text(value: memoryview) -> str:
    return text(value).lstrip(" ")


_READERS = {
    0x0002: ("sop_class_uid", text),
    0x0003: ("sop_class_uid", text),  # Requested SOP Class UID, of N-GET and its like
    0x0100: ("field", _read_number),
    0x0110: ("message_id", _read_number),
    0x0120: ("responded_to", _read_number),
    0x0700: ("priority", _read_number),
    0x0800: ("data_set", _read_data_set),
    0x0900: ("status", _read_number),
    0x0901: ("offending", _read_tags),
    0x0902: ("comment", _read_text),
    0x1000: ("sop_instance_uid", text),
    0x1001: ("sop_instance_uid", text),  # Requested SOP Instance UID
    0x1030: ("move_originator_aet", _read_text),
    0x1031: ("move_originator_message_id", _read_number),
}
