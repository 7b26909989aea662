"""The side that asks: C-ECHO, C-STORE and C-FIND on an association.

Source: PS3.7 9.1, PS3.8 7
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.errors import AssociationEnded, DimseError, OperationFailed, PeerSilent
from pacsops.dimse.machine import Event
from pacsops.dimse.messages import MessageReader
from pacsops.dimse.negotiation import VERIFICATION, Agreed
from pacsops.dimse.p_data import fragment
from pacsops.dimse.part10 import StoredInstance
from pacsops.dimse.pdu import AssociateAccept, ReleaseRequest
from pacsops.dimse.query import Query
from pacsops.dimse.sending import LARGEST_PDU, DataSetSender
from pacsops.dimse.status import Answer, category
from pacsops.dimse.upper_layer import UNEXPECTED_PDU, UpperLayer

_MEDIUM_PRIORITY: Final = 0
_UNLIMITED: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds a peer is given."""

    connect: float = 10
    """For TCP and TLS."""
    associate: float = 30
    """To answer an association request or a release."""
    response: float = 60
    """To answer an operation, to give the next match of a query, and to take any byte of what is sent."""
    close: float = 2
    """To close the connection of an association that was aborted here (ARTIM)."""


class Association:
    """An established association. Operations may be started from several tasks: they wait for their turn.

    An operation that is cancelled or times out aborts the association, as its answer could still come.
    """

    def __init__(
        self, upper_layer: UpperLayer, acceptance: AssociateAccept, agreed: Agreed, timeouts: Timeouts
    ) -> None:
        self.acceptance = acceptance
        """What the peer answered, and says about itself."""
        self.agreed = agreed
        self._upper_layer = upper_layer
        self._timeouts = timeouts
        self._messages = MessageReader(upper_layer, agreed.accepted, timeouts.response)
        self._sender: DataSetSender | None = None
        self._sending = asyncio.Lock()
        self._turns = asyncio.Semaphore(agreed.window or _UNLIMITED)
        self._message_id = 0
        self._waiting: dict[int, asyncio.Future[Command] | Query] = {}
        self._reader = asyncio.create_task(self._read())

    @property
    def ended(self) -> DimseError | None:
        """Why no operation can be started any more; None while one can. A peer that hung up is noticed by itself."""
        return self._upper_layer.over

    async def echo(self) -> Answer:
        """C-ECHO (PS3.7 9.1.5).

        Raises:
            ContextNotAccepted: Verification was not proposed, or not accepted.
            OperationFailed: the peer answered, and not with success.
            DimseError: the association ended.
        """
        context, _ = self.agreed.context_for(VERIFICATION)
        async with self._turns:
            request = Command(field=Operation.C_ECHO, sop_class_uid=VERIFICATION, message_id=self._next_id())
            with self._expected(request) as answer:
                await self._send(context, request)
                return await self._answered("C-ECHO", answer)

    async def store(self, source: Path | bytes | StoredInstance) -> Answer:
        """C-STORE (PS3.7 9.1.1) of a DICOM file: its path, its content, or opened before.

        Its data set is sent byte for byte.

        Returns:
            Success or a warning.

        Raises:
            UnreadableFile: no DICOM file; or it shrank meanwhile, and the association is aborted.
            ContextNotAccepted: the peer does not take it in the transfer syntax the file has.
            OperationFailed: the peer did not take it.
            DimseError: the association ended; whether the peer has the instance is not known.
        """
        # A file is opened when its turn comes: thousands of stores may have been started.
        async with self._turns:
            with contextlib.ExitStack() as opened:
                stored = (
                    source if isinstance(source, StoredInstance) else opened.enter_context(StoredInstance(source))
                )
                instance = stored.instance
                context, _ = self.agreed.context_for(instance.sop_class_uid, instance.transfer_syntax_uid)
                request = Command(
                    field=Operation.C_STORE,
                    sop_class_uid=instance.sop_class_uid,
                    message_id=self._next_id(),
                    priority=_MEDIUM_PRIORITY,
                    data_set=True,
                    sop_instance_uid=instance.sop_instance_uid,
                )
                with self._expected(request) as answer:
                    await self._send_instance(context, request, stored)
                    return await self._answered("C-STORE", answer)

    @asynccontextmanager
    async def find(self, sop_class_uid: str, identifier: bytes) -> AsyncIterator[Query]:
        """C-FIND (PS3.7 9.1.2): iterate over the query for its matches.

        A query that is left before its end is cancelled, and what still comes is thrown away. On an association
        without an operations window nothing else can be asked until the query is left.

        Args:
            identifier: encoded in the transfer syntax that `agreed.context_for(sop_class_uid)` says.

        Raises:
            ContextNotAccepted: the SOP class was not proposed, or not accepted.
            OperationFailed: while iterating, after the last match: it did not end with success.
            DimseError: the association ended.
        """
        context, transfer_syntax = self.agreed.context_for(sop_class_uid)
        async with self._turns:
            message_id = self._next_id()
            cancel = Command(field=Operation.C_CANCEL, responded_to=message_id)
            query = Query(transfer_syntax, lambda: self._send(context, cancel), self._timeouts.response)
            request = Command(
                field=Operation.C_FIND,
                sop_class_uid=sop_class_uid,
                message_id=message_id,
                priority=_MEDIUM_PRIORITY,
                data_set=True,
            )
            self._waiting[message_id] = query
            try:
                await self._send(context, request, identifier)
                yield query
                await query.drain()
            finally:
                del self._waiting[message_id]
                if query.answer is None:
                    self._give_up()

    async def release(self) -> None:
        """End it in order (PS3.8 7.2). One that is over already only has its connection closed."""
        if self.ended is None:
            with contextlib.suppress(DimseError):
                self._upper_layer.happen(Event.RELEASE_REQUEST)
            await asyncio.wait([self._reader], timeout=self._timeouts.associate)
        await self.abort()

    async def abort(self) -> None:
        """End it at once (PS3.8 7.3). One that is over already only has its connection closed."""
        self._give_up()
        await asyncio.wait([self._reader])
        await self._upper_layer.linger()

    def _give_up(self) -> None:
        self._upper_layer.abort()
        self._reader.cancel()

    def _next_id(self) -> int:
        while True:
            self._message_id = self._message_id % 0xFFFF + 1
            if self._message_id not in self._waiting:
                return self._message_id

    @contextlib.contextmanager
    def _expected(self, request: Command) -> Iterator[asyncio.Future[Command]]:
        assert request.message_id is not None
        answer: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting[request.message_id] = answer
        try:
            yield answer
        finally:
            del self._waiting[request.message_id]
            if answer.cancelled() or not answer.done():
                self._give_up()
            else:
                answer.exception()  # looked at, also where something else was raised first

    async def _answered(self, operation: str, answer: asyncio.Future[Command]) -> Answer:
        seconds = self._timeouts.response
        try:
            async with asyncio.timeout(seconds):
                command = await answer
        except TimeoutError:
            raise PeerSilent(f"no answer to {operation} within {seconds:g} s") from None
        if command.status is None or category(command.status) not in ("success", "warning"):
            raise OperationFailed(operation, command.status or 0, command.comment, command.offending)
        return Answer(command.status, command.comment)

    async def _send(self, context: int, command: Command, identifier: bytes | None = None) -> None:
        maximum = min(self.agreed.maximum_length or LARGEST_PDU, LARGEST_PDU)
        message = fragment(context, True, command.encode(), maximum)
        if identifier is not None:
            message += fragment(context, False, identifier, maximum)
        async with self._sending:
            self._upper_layer.send(message)
            await self._upper_layer.connection.flush(self._timeouts.response)

    async def _send_instance(self, context: int, request: Command, stored: StoredInstance) -> None:
        async with self._sending:
            if self._sender is None:
                self._sender = DataSetSender(self._upper_layer, self.agreed.maximum_length)
            try:
                await self._sender.send(context, request, stored, self._timeouts.response)
            except BaseException:
                self._give_up()  # at once, before anybody writes behind half a message
                raise

    async def _read(self) -> None:
        """Gives answers to who waits for them, until the association is over."""
        try:
            while self._upper_layer.over is None:
                message = await self._messages.next(None)
                if isinstance(message, tuple):
                    await self._arrived(*message)
                elif isinstance(message, ReleaseRequest):
                    self._upper_layer.happen(Event.RELEASE_RESPONSE)
        except DimseError:
            pass  # `ended` says it from now on
        finally:
            why = self.ended or AssociationEnded("the association is over")
            for waiting in self._waiting.values():
                if isinstance(waiting, Query):
                    waiting.failed(why)
                elif not waiting.done():
                    waiting.set_exception(why)

    async def _arrived(self, context: int, command: Command) -> None:
        waiting = self._waiting.get(command.responded_to or 0) if command.response else None
        if waiting is None:
            self._upper_layer.violated(f"message {command.field:04X}H answers nothing asked", UNEXPECTED_PDU)
        identifier = await self._messages.identifier(context) if command.data_set else b""
        if isinstance(waiting, Query):
            await waiting.arrived(command, identifier)
        elif not waiting.done():
            waiting.set_result(command)
