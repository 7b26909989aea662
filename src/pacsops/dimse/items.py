"""User information of an association: what the two sides tell each other beyond presentation contexts.

Source: PS3.8 9.3.1 and annex D, PS3.7 annex D.3.3
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pacsops.dimse.errors import ProtocolViolation

Bytes = bytes | bytearray | memoryview

INVALID_VALUE: Final = 6
LONGEST_UID: Final = 64
"""Bytes, PS3.5 9.1."""
_ITEM = struct.Struct(">BxH")
_TWO = struct.Struct(">HH")
_MAXIMUM_LENGTH, _IMPLEMENTATION_UID, _WINDOW, _ROLE, _IMPLEMENTATION_VERSION = range(0x51, 0x56)
_EXTENDED, _IDENTITY, _IDENTITY_RESPONSE = 0x56, 0x58, 0x59


@dataclass(frozen=True, slots=True)
class Role:
    """SCP/SCU role selection (PS3.7 D.3.3.4): the roles of the requestor for one abstract syntax."""

    abstract_syntax: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 D.3.3.5); `information` is the service class's own, as sent."""

    sop_class_uid: str
    information: bytes


@dataclass(frozen=True, slots=True)
class OperationsWindow:
    """Asynchronous operations the requestor may invoke and perform at a time (PS3.7 D.3.3.3); 0 is no limit."""

    invoked: int = 1
    performed: int = 1


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who asks (PS3.7 D.3.3.7). `type` 1 user name, 2 with passcode, 3 Kerberos, 4 SAML, 5 JSON Web Token."""

    type: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    response_requested: bool = False


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """A sub-item of a type not understood here, which is to be ignored (PS3.8 9.3.1)."""

    type: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInformation:
    """All sub-items of a user information item. `identity` is of requests, `identity_response` of acceptances."""

    maximum_length: int = 0
    """Bytes of the variable field of a P-DATA-TF PDU its sender takes; 0 is no limit."""
    implementation_class_uid: str = ""
    implementation_version: str = ""
    window: OperationsWindow | None = None
    roles: tuple[Role, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = None
    unknown: tuple[UnknownItem, ...] = ()

    def encode(self) -> bytes:
        """The content of a user information item.

        Raises:
            ValueError: something is longer than its length field can say.
        """
        parts = [item(_MAXIMUM_LENGTH, self.maximum_length.to_bytes(4, "big"))]
        if self.implementation_class_uid:
            parts.append(item(_IMPLEMENTATION_UID, self.implementation_class_uid.encode("ascii")))
        if self.window:
            parts.append(item(_WINDOW, _TWO.pack(self.window.invoked, self.window.performed)))
        parts += [item(_ROLE, _sized(role.abstract_syntax) + bytes((role.scu, role.scp))) for role in self.roles]
        if self.implementation_version:
            parts.append(item(_IMPLEMENTATION_VERSION, self.implementation_version.encode("ascii")))
        parts += [item(_EXTENDED, _sized(one.sop_class_uid) + one.information) for one in self.extended]
        if self.identity:
            said = self.identity
            head = bytes((said.type, said.response_requested))
            parts.append(item(_IDENTITY, head + _sized(said.primary) + _sized(said.secondary)))
        if self.identity_response is not None:
            parts.append(item(_IDENTITY_RESPONSE, _sized(self.identity_response)))
        parts += [item(one.type, one.content) for one in self.unknown]
        return b"".join(parts)

    @classmethod
    def decode(cls, content: Bytes) -> UserInformation:
        """Of an item that is said twice the last holds; types not understood are kept in `unknown`.

        Raises:
            ProtocolViolation: a length leads out of its item.
        """
        maximum_length, uid, version = 0, "", ""
        window, identity, response = None, None, None
        roles: list[Role] = []
        extended: list[ExtendedNegotiation] = []
        unknown: list[UnknownItem] = []
        for kind, inside in items(content):
            if kind == _MAXIMUM_LENGTH:
                maximum_length = int.from_bytes(_exactly(inside, 4), "big")
            elif kind == _IMPLEMENTATION_UID:
                uid = text(inside)
            elif kind == _WINDOW:
                window = OperationsWindow(*_TWO.unpack(_exactly(inside, 4)))
            elif kind == _ROLE:
                abstract_syntax, rest = _take_sized(inside)
                scu, scp = _exactly(rest, 2)
                roles.append(Role(text(abstract_syntax), bool(scu), bool(scp)))
            elif kind == _IMPLEMENTATION_VERSION:
                version = text(inside)
            elif kind == _EXTENDED:
                sop_class_uid, rest = _take_sized(inside)
                extended.append(ExtendedNegotiation(text(sop_class_uid), bytes(rest)))
            elif kind == _IDENTITY:
                identity = _identity(inside)
            elif kind == _IDENTITY_RESPONSE:
                response = bytes(_take_sized(inside)[0])
            else:
                unknown.append(UnknownItem(kind, bytes(inside)))
        return cls(
            maximum_length=maximum_length,
            implementation_class_uid=uid,
            implementation_version=version,
            window=window,
            roles=tuple(roles),
            extended=tuple(extended),
            identity=identity,
            identity_response=response,
            unknown=tuple(unknown),
        )


def item(kind: int, content: bytes) -> bytes:
    """An item or sub-item: type, reserved, length (16 bit), content.

    Raises:
        ValueError: longer than 65535 bytes.
    """
    if len(content) > 0xFFFF:
        raise ValueError(f"an item of {len(content)} bytes does not fit an association request")
    return _ITEM.pack(kind, len(content)) + content


def items(content: Bytes) -> Iterator[tuple[int, memoryview]]:
    """Types and contents of the items that `content` consists of.

    Raises:
        ProtocolViolation: a length leads out of it.
    """
    view, at = memoryview(content), 0
    while at < len(view):
        if len(view) - at < _ITEM.size:
            raise ProtocolViolation("an item is cut off", reason=INVALID_VALUE)
        kind, length = _ITEM.unpack_from(view, at)
        at += _ITEM.size
        if length > len(view) - at:
            raise ProtocolViolation(f"item {kind:02X}H is longer than what it stands in", reason=INVALID_VALUE)
        yield kind, view[at : at + length]
        at += length


def text(content: Bytes) -> str:
    """A UID or name without its padding. Bytes outside ASCII stay recognizable, and match nothing."""
    return bytes(content).rstrip(b"\0 ").decode("ascii", "backslashreplace")


def _identity(content: memoryview) -> UserIdentity:
    if len(content) < 2:
        raise ProtocolViolation("the user identity item is cut off", reason=INVALID_VALUE)
    primary, rest = _take_sized(content[2:])
    secondary, _ = _take_sized(rest) if rest else (b"", rest)
    return UserIdentity(content[0], bytes(primary), bytes(secondary), bool(content[1]))


def _sized(value: str | bytes) -> bytes:
    content = value.encode("ascii") if isinstance(value, str) else value
    if len(content) > 0xFFFF:
        raise ValueError(f"a field of {len(content)} bytes does not fit an association request")
    return len(content).to_bytes(2, "big") + content


def _take_sized(content: memoryview) -> tuple[memoryview, memoryview]:
    """A field preceded by its 16 bit length, and what follows it."""
    length = int.from_bytes(content[:2], "big")
    if len(content) < 2 or length > len(content) - 2:
        raise ProtocolViolation("a field of a sub-item is longer than the sub-item", reason=INVALID_VALUE)
    return content[2 : 2 + length], content[2 + length :]


def _exactly(content: memoryview, length: int) -> memoryview:
    if len(content) != length:
        raise ProtocolViolation(f"a sub-item has {len(content)} bytes instead of {length}", reason=INVALID_VALUE)
    return content
