"""The protocol data units of the DICOM upper layer, except P-DATA-TF, which is never held whole.

Source: PS3.8 9.3
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from pacsops.dimse.errors import ABORT_REASONS, ProtocolViolation
from pacsops.dimse.items import INVALID_VALUE, LONGEST_UID, Bytes, UserInformation, item, items, text

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
HEADER: Final = struct.Struct(">BxI")
"""Type, reserved, length of what follows."""
MAXIMUM_CONTROL_LENGTH: Final = 1 << 20
"""The longest association request read, in bytes: 128 contexts of every transfer syntax are a fifth of it."""
UNRECOGNIZED_PDU: Final = 1
_ASSOCIATE = struct.Struct(">H2x16s16s32x")
_FOUR = struct.Struct(">xBBB")
_Context = TypeVar("_Context")
_APPLICATION, _CONTEXT_RQ, _CONTEXT_AC, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50


class PduType(IntEnum):
    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class ContextResult(IntEnum):
    """What became of a proposed presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context of a request (PS3.8 9.3.2.2): `id` is odd, 1 to 255."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """A presentation context of an acceptance (PS3.8 9.3.3.2). `transfer_syntax` counts when accepted."""

    id: int
    result: int
    transfer_syntax: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called_aet: str
    calling_aet: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    """A bit for each version; bit 0 is the only one there is."""

    def encode(self) -> bytes:
        parts = [item(_APPLICATION, self.application_context.encode("ascii"))]
        for context in self.contexts:
            syntaxes = b"".join(item(_TRANSFER, syntax.encode("ascii")) for syntax in context.transfer_syntaxes)
            abstract = item(_ABSTRACT, context.abstract_syntax.encode("ascii"))
            parts.append(item(_CONTEXT_RQ, bytes((context.id, 0, 0, 0)) + abstract + syntaxes))
        return _associate(PduType.ASSOCIATE_RQ, self, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). AE titles are those of the request and not to be looked at."""

    called_aet: str
    calling_aet: str
    contexts: tuple[AnsweredContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1

    def encode(self) -> bytes:
        parts = [item(_APPLICATION, self.application_context.encode("ascii"))]
        for context in self.contexts:
            head = bytes((context.id, 0, context.result, 0))
            parts.append(item(_CONTEXT_AC, head + item(_TRANSFER, context.transfer_syntax.encode("ascii"))))
        return _associate(PduType.ASSOCIATE_AC, self, parts)


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int

    def encode(self) -> bytes:
        return HEADER.pack(PduType.ASSOCIATE_RJ, 4) + _FOUR.pack(self.result, self.source, self.reason)


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    def encode(self) -> bytes:
        return HEADER.pack(PduType.RELEASE_RQ, 4) + bytes(4)


@dataclass(frozen=True, slots=True)
class ReleaseResponse:
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    def encode(self) -> bytes:
        return HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8): `source` 0 service user, 2 service provider, which alone gives a reason."""

    source: int = 0
    reason: int = 0

    def encode(self) -> bytes:
        return HEADER.pack(PduType.ABORT, 4) + _FOUR.pack(0, self.source, self.reason)

    def __str__(self) -> str:
        return ABORT_REASONS.get(self.reason, f"reason {self.reason}")


ControlPdu = AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseResponse | Abort


def decode(kind: int, body: Bytes) -> ControlPdu:
    """The PDU of type `kind` whose content, behind the header, is `body`.

    Raises:
        ProtocolViolation: no control PDU has this type, or the body is none of its.
    """
    match kind:
        case PduType.ASSOCIATE_RQ:
            return _associate_request(body)
        case PduType.ASSOCIATE_AC:
            return _associate_accept(body)
        case PduType.ASSOCIATE_RJ:
            return AssociateReject(*_four(body))
        case PduType.RELEASE_RQ:
            _four(body)
            return ReleaseRequest()
        case PduType.RELEASE_RP:
            _four(body)
            return ReleaseResponse()
        case PduType.ABORT:
            return Abort(*_four(body)[1:])
    raise ProtocolViolation(f"PDU type {kind:02X}H is unknown", reason=UNRECOGNIZED_PDU)


def ae_title(value: str) -> str:
    """`value` without the spaces around it.

    Raises:
        ValueError: no AE title (PS3.5 6.2): 1 to 16 characters of ASCII without backslash and control characters.
    """
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not all(" " <= character <= "~" for character in title):
        raise ValueError(f"{value!r} is no AE title: 1 to 16 ASCII characters, no backslash")
    return title


def _associate(kind: PduType, pdu: AssociateRequest | AssociateAccept, parts: list[bytes]) -> bytes:
    parts.append(item(_USER, pdu.user.encode()))
    called, calling = (title.encode("ascii").ljust(16) for title in (pdu.called_aet, pdu.calling_aet))
    body = _ASSOCIATE.pack(pdu.protocol_version, called, calling) + b"".join(parts)
    return HEADER.pack(kind, len(body)) + body


def _fixed(body: Bytes) -> tuple[int, str, str]:
    if len(body) < _ASSOCIATE.size:
        raise ProtocolViolation("an association PDU is cut off", reason=INVALID_VALUE)
    version, called, calling = _ASSOCIATE.unpack_from(body)
    return version, text(called).strip(), text(calling).strip()


def _associate_request(body: Bytes) -> AssociateRequest:
    version, called, calling = _fixed(body)
    application_context, contexts, user = _variable(body, _CONTEXT_RQ, _proposed)
    return AssociateRequest(
        called_aet=called,
        calling_aet=calling,
        contexts=contexts,
        user=user,
        application_context=application_context,
        protocol_version=version,
    )


def _associate_accept(body: Bytes) -> AssociateAccept:
    version, called, calling = _fixed(body)
    application_context, contexts, user = _variable(body, _CONTEXT_AC, _answered)
    return AssociateAccept(
        called_aet=called,
        calling_aet=calling,
        contexts=contexts,
        user=user,
        application_context=application_context,
        protocol_version=version,
    )


def _variable(
    body: Bytes, context_kind: int, context: Callable[[memoryview], _Context]
) -> tuple[str, tuple[_Context, ...], UserInformation]:
    """Application context, presentation contexts and user information of either PDU (PS3.8 9.3.2, 9.3.3)."""
    application_context, user = "", UserInformation()
    contexts: list[_Context] = []
    for kind, content in items(memoryview(body)[_ASSOCIATE.size :]):
        if kind == _APPLICATION:
            application_context = text(content)
        elif kind == context_kind:
            contexts.append(context(content))
        elif kind == _USER:
            user = UserInformation.decode(content)
    return application_context, tuple(contexts), user


def _proposed(content: memoryview) -> ProposedContext:
    if len(content) < 4 or content[0] % 2 == 0:
        raise ProtocolViolation("a presentation context has no odd number", reason=INVALID_VALUE)
    abstract_syntax, transfer_syntaxes = "", []
    for kind, inside in items(content[4:]):
        if kind == _ABSTRACT:
            abstract_syntax = _uid(inside)
        elif kind == _TRANSFER:
            transfer_syntaxes.append(_uid(inside))
    return ProposedContext(content[0], abstract_syntax, tuple(transfer_syntaxes))


def _answered(content: memoryview) -> AnsweredContext:
    if len(content) < 4:
        raise ProtocolViolation("an answered presentation context is cut off", reason=INVALID_VALUE)
    # In a context that is not accepted, the transfer syntax is not significant and often is no UID at all.
    transfer_syntax = next((text(inside) for kind, inside in items(content[4:]) if kind == _TRANSFER), "")
    return AnsweredContext(content[0], content[2], transfer_syntax)


def _uid(content: memoryview) -> str:
    """A UID of a request: it is said again in the answer, which has to have room for it."""
    if len(bytes(content).rstrip(b"\0 ")) > LONGEST_UID:
        raise ProtocolViolation(f"a UID of more than {LONGEST_UID} bytes", reason=INVALID_VALUE)
    return text(content)


def _four(body: Bytes) -> tuple[int, int, int]:
    if len(body) != 4:
        raise ProtocolViolation(f"a PDU of 4 bytes has {len(body)}", reason=INVALID_VALUE)
    first, second, third = _FOUR.unpack(body)
    return first, second, third
