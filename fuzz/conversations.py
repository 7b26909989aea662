"""Associations with a fuzzer: the gateway's receiver answers it, and our requestor asks it.

An input is a byte for how it arrives (`Wire.hear`), then what is said. In the targets `…_messages` the association is
there already, and the input consists of presentation data values, `SEPARATOR` between them, each with the byte of its
message control header (in its upper half which context, 15 for one that is none) before its content: a fuzzer that
has to keep lengths right does not come far.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fuzz.memory import MemoryLoop, Wire
from pacsops.dimse import (
    VERIFICATION,
    Acceptor,
    Association,
    Context,
    DimseError,
    FindRequest,
    Handlers,
    Match,
    Peer,
    Terms,
    associate,
    file_meta,
)
from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.items import OperationsWindow, UserInformation
from pacsops.dimse.p_data import COMMAND, LAST, PDV
from pacsops.dimse.part10 import Instance
from pacsops.dimse.pdu import (
    HEADER,
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    PduType,
    ProposedContext,
    decode,
)
from pacsops.gateway.admission import admission
from pacsops.gateway.configuration import parse
from pacsops.gateway.faults import Faults
from pacsops.gateway.receiver import Receiver
from pacsops.gateway.spool import RECEIVING, files
from pacsops.gateway.tally import Tally

SEPARATOR: Final = b"\xfe\xed"
CT: Final = "1.2.840.10008.5.1.4.1.1.2"
FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
CONTEXTS: Final = (
    ProposedContext(1, CT, (EXPLICIT,)),
    ProposedContext(3, VERIFICATION, (EXPLICIT,)),
    ProposedContext(5, FIND, (EXPLICIT,)),
    ProposedContext(7, CT, (DEFLATED,)),
)
USER: Final = UserInformation(maximum_length=16384, implementation_class_uid="1.2", window=OperationsWindow(2, 1))
REQUEST: Final = AssociateRequest(called_aet="GATEWAY", calling_aet="FUZZ", contexts=CONTEXTS, user=USER)
ACCEPTANCE: Final = AssociateAccept(
    called_aet="PEER",
    calling_aet="FUZZ",
    contexts=tuple(AnsweredContext(one.id, 0, one.transfer_syntaxes[0]) for one in CONTEXTS),
    user=USER,
)
MATCH: Final = b"\x08\0\x20\0DA\x08\x0020240101"
IMAGES: Final = tuple(file_meta(Instance(CT, f"1.2.{number}", EXPLICIT)) + MATCH * number for number in (1, 3000))
_STORED: Final = Operation.C_STORE | 0x8000
_LONGEST: Final = 7200.0
"""Seconds, by the loop's clock, in which every association has to end by itself."""


class Fault(Exception):
    """What must not happen did."""


class Inline:
    """Does at once what a pool of threads would do later: runs are the same each time."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        """Everything is done."""


class Conversations:
    """Runs inputs, one loop and one spool for all of them.

    Args:
        spool: an empty folder.
    """

    def __init__(self, spool: Path) -> None:
        self._loop = MemoryLoop()
        self._spool = spool
        (self._spool / RECEIVING).mkdir()
        configuration = parse("{peers: [{aet: FUZZ}], private_sop_classes: true}")
        self._faults = Faults(self._spool, False)
        gateway = admission("GATEWAY", lambda: configuration, self._faults)
        self._policy = replace(  # queries, besides what a gateway takes
            gateway, transfer_syntaxes=lambda uid: (EXPLICIT,) if uid == FIND else gateway.transfer_syntaxes(uid)
        )
        self._defects: list[str] = []
        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: self._defects.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("pacsops.dimse").addHandler(handler)

    # targets: each gives the commands that our side said

    def acceptor(self, content: bytes) -> list[Command]:
        return self._run(self._answering(content[:1], content[1:]))

    def acceptor_messages(self, content: bytes) -> list[Command]:
        return self._run(self._answering(content[:1], REQUEST.encode() + framed(content[1:])))

    def requestor(self, content: bytes) -> list[Command]:
        return self._run(self._asking(content[:1], content[1:]))

    def requestor_messages(self, content: bytes) -> list[Command]:
        return self._run(self._asking(content[:1], ACCEPTANCE.encode() + framed(content[1:])))

    # what they do

    def _run(self, conversation: Awaitable[list[Command]]) -> list[Command]:
        files_open = _files_open()
        said = self._loop.run_until_complete(conversation)
        self._loop.accept = None
        gc.collect()  # tells of exceptions that nobody looked at
        uncaught, self._loop.uncaught = self._loop.uncaught, []
        defects, self._defects = self._defects, []
        for context in uncaught:
            raise Fault(context["message"]) from context.get("exception")
        if defects:
            raise Fault(f"a handler failed: {defects[0]}")
        if left := asyncio.all_tasks(self._loop):
            raise Fault(f"{len(left)} tasks are left over: {left}")
        if _files_open() > files_open:
            raise Fault("files are left open")
        return said

    async def _answering(self, mode: bytes, said: bytes) -> list[Command]:
        receiver = Receiver(self._spool, 0, self._faults, Tally())
        receiver._threads = Inline()  # type: ignore[assignment]
        try:
            async with Acceptor(Handlers(store=receiver.store, find=_found), self._policy) as acceptor:
                await acceptor.listen("", 0)
                assert self._loop.accept is not None
                wire = Wire(self._loop, self._loop.accept())
                async with asyncio.timeout(_LONGEST):
                    await wire.hear(mode[0] if mode else 0, said)
                    await wire.closed.wait()
                await asyncio.sleep(1)  # what ends with it
        finally:
            receiver.close()
        kept = {Path(one.file).stem.partition("~")[0] for one in files(self._spool)}
        self._clean()
        answers = commands(bytes(wire.said))
        stored = {one.sop_instance_uid for one in answers if (one.field, one.status) == (_STORED, 0)}
        if not stored <= kept:
            raise Fault("success was answered for what is not in the spool")
        return answers

    def _clean(self) -> None:
        for study in self._spool.iterdir():
            if study.name == RECEIVING:
                if list(study.iterdir()):
                    raise Fault("a file under reception is left over")
            else:
                shutil.rmtree(study)

    async def _asking(self, mode: bytes, said: bytes) -> list[Command]:
        asking = asyncio.create_task(_ask())
        while not self._loop.wires and not asking.done():
            await asyncio.sleep(0)
        wire = self._loop.wires.pop()
        await asyncio.sleep(0.001)
        async with asyncio.timeout(_LONGEST):
            await wire.hear(mode[0] if mode else 0, said)
            await asking
            await wire.closed.wait()
        return commands(bytes(wire.said))


def _files_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _ask() -> None:
    """Everything that can be asked, as far as the association lasts."""
    contexts = [Context(one.abstract_syntax, one.transfer_syntaxes) for one in CONTEXTS]
    with contextlib.suppress(DimseError):
        async with associate(Peer("peer", 104, "PEER"), "FUZZ", contexts, Terms(window=2)) as association:
            for operation in (association.echo, lambda: _two_stores(association), lambda: _query(association)):
                with contextlib.suppress(DimseError):
                    await operation()


async def _two_stores(association: Association) -> None:
    answers = await asyncio.gather(*(association.store(image) for image in IMAGES), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer


async def _query(association: Association) -> None:
    async with association.find(FIND, MATCH) as query:
        async for match in query:
            if match.identifier == b"enough":
                break


async def _found(request: FindRequest) -> AsyncGenerator[Match]:
    for _ in range(3):
        yield Match(request.identifier)
        await asyncio.sleep(0.01)


def framed(content: bytes) -> bytes:
    """Each value in a P-DATA-TF of its own."""
    pdus = []
    for value in content.split(SEPARATOR):
        head, rest = value[0] if value else 0, value[1:]
        number = head >> 4
        context = CONTEXTS[number % len(CONTEXTS)].id if number < 15 else 99
        pdus.append(HEADER.pack(PduType.P_DATA_TF, len(rest) + PDV.size) + PDV.pack(len(rest) + 2, context, head & 3))
        pdus.append(rest)
    return b"".join(pdus)


def commands(said: bytes) -> list[Command]:
    """The command sets among what was said, which consists of whole PDUs with a value each."""
    found, pieces, at = [], b"", 0
    while at < len(said):
        kind, length = HEADER.unpack_from(said, at)
        body = said[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        if len(body) != length:
            raise Fault("what was said ends within a PDU")
        if kind != PduType.P_DATA_TF:
            decode(kind, body)
            continue
        size, _, control = PDV.unpack_from(body)
        if size != length - 4:
            raise Fault("a PDU has other than one value")
        if control & COMMAND:
            pieces += body[PDV.size :]
            if control & LAST:
                found.append(Command.decode(pieces))
                pieces = b""
    return found
