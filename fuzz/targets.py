"""What is fuzzed: functions of bytes from outside. Whatever these are, our own errors come, or none.

Imported while atheris instruments what is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.conversations import Conversations, Fault
from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import Header, read_header
from pacsops.dimse import Policy, StoredInstance, UnreadableFile
from pacsops.dimse.commands import Command
from pacsops.dimse.errors import ProtocolViolation
from pacsops.dimse.negotiation import accept, agreed, unacceptable
from pacsops.dimse.pdu import AssociateAccept, AssociateRequest, decode
from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import parse
from pacsops.routes import RoutesInvalid, load_routes

SYNTAXES: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
"""Implicit, explicit, big endian, deflated."""
_POLICY: Final = Policy(transfer_syntaxes=lambda uid: SYNTAXES if uid.startswith("1.") else ())


@dataclass(frozen=True, slots=True)
class Target:
    """One way in."""

    run: Callable[[bytes], object]
    longest: int
    """Bytes of an input."""


def pdu(content: bytes) -> None:
    """A control PDU, its type first; a request is answered, and the answer understood."""
    try:
        found = decode(content[0] if content else 0, content[1:])
    except ProtocolViolation:
        return
    if isinstance(found, AssociateRequest) and unacceptable(found) is None:
        acceptance = accept(found, _POLICY)
        said = decode(2, acceptance.encode()[6:])
        assert isinstance(said, AssociateAccept)
        if [one.id for one in said.contexts] != [one.id for one in found.contexts[:128]]:
            raise Fault("not every context was answered")
        with contextlib.suppress(ProtocolViolation):
            agreed(found, said, peer=found.user)
    elif isinstance(found, AssociateAccept):
        request = AssociateRequest(called_aet="A", calling_aet="B", contexts=(), user=found.user)
        with contextlib.suppress(ProtocolViolation):
            agreed(request, found, peer=found.user)


def command(content: bytes) -> None:
    """A command set; what it is answered by is one, too."""
    try:
        found = Command.decode(content)
    except ProtocolViolation:
        return
    if found.message_id is not None:
        answer = Command.decode(found.answer(0xA700, found.comment).encode())
        if (answer.responded_to, answer.status) != (found.message_id, 0xA700):
            raise Fault("the answer is another one")


def file(content: bytes) -> None:
    """A DICOM file."""
    with contextlib.suppress(UnreadableFile, UnreadableDataSet), StoredInstance(content) as stored:
        if not 0 <= stored.length <= len(content):
            raise Fault("the data set is longer than the file")
        read_header(content[stored.offset :], stored.instance.transfer_syntax_uid)


def header(content: bytes) -> None:
    """A data set, the number of its transfer syntax first. Half of it says nothing else than all of it."""
    syntax, data_set = SYNTAXES[content[0] % len(SYNTAXES) if content else 0], content[1:]
    half, whole = _header(data_set[: len(data_set) // 2], syntax), _header(data_set, syntax)
    if half is not None and not half.cut_short and whole is not None and half != whole:
        raise Fault("half a data set was read otherwise than all of it")
    if whole and any("\0" in value for value in whole.values()):
        raise Fault("a value has a NUL")


def _header(data_set: bytes, syntax: str) -> Header | None:
    try:
        return read_header(data_set, syntax)
    except UnreadableDataSet:
        return None


def gateway_yml(content: bytes) -> None:
    with contextlib.suppress(GatewayConfigurationError):
        parse(content.decode("utf-8", "replace"))


def routes_yml(content: bytes) -> None:
    with contextlib.suppress(RoutesInvalid):
        load_routes(content.decode("utf-8", "replace"), destinations=["MERCURE"], gateway_destinations=["PACS"])


def targets(spool: Path) -> Mapping[str, Target]:
    """By name. What is received goes to `spool`, an empty folder, and away again."""
    conversations = Conversations(spool)
    return {
        "acceptor": Target(conversations.acceptor, 8 << 10),
        "acceptor_messages": Target(conversations.acceptor_messages, 8 << 10),
        "requestor": Target(conversations.requestor, 8 << 10),
        "requestor_messages": Target(conversations.requestor_messages, 8 << 10),
        "pdu": Target(pdu, 72 << 10),
        "command": Target(command, 2 << 10),
        "file": Target(file, 16 << 10),
        "header": Target(header, 16 << 10),
        "gateway_yml": Target(gateway_yml, 4 << 10),
        "routes_yml": Target(routes_yml, 8 << 10),
    }
