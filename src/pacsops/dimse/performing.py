"""The side that is asked: C-ECHO, C-STORE and C-FIND performed by functions the caller gives.

Source: PS3.7 9.1 and 9.3, PS3.4 B.2 and C.4.1
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Final

from pacsops.dimse import status
from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.errors import DimseError, PeerSilent
from pacsops.dimse.handlers import Caller, FindRequest, Handlers, Refused, StoreRequest
from pacsops.dimse.machine import Event
from pacsops.dimse.messages import MessageReader
from pacsops.dimse.negotiation import Agreed, Policy
from pacsops.dimse.p_data import fragment
from pacsops.dimse.part10 import Instance
from pacsops.dimse.pdu import ReleaseRequest
from pacsops.dimse.query import Match
from pacsops.dimse.sending import LARGEST_PDU
from pacsops.dimse.status import Answer
from pacsops.dimse.upper_layer import UNEXPECTED_PDU, UpperLayer

_log = logging.getLogger(__name__)
_UID: Final = re.compile(r"[0-9.]{1,64}")
_FAILED: Final = Answer(status.PROCESSING_FAILURE)


class Performer:
    """Performs what is asked on one association, until it is over."""

    def __init__(
        self, upper_layer: UpperLayer, caller: Caller, agreed: Agreed, handlers: Handlers, policy: Policy
    ) -> None:
        self._upper_layer = upper_layer
        self._caller = caller
        self._agreed = agreed
        self._handlers = handlers
        self._policy = policy
        self._messages = MessageReader(upper_layer, agreed.accepted, policy.patience)
        self._maximum = min(agreed.maximum_length or LARGEST_PDU, LARGEST_PDU)
        self._running: dict[int, asyncio.Task[None]] = {}
        """Operations under way while the next message is read, by message id."""
        self._queries: set[int] = set()
        """Those of them that C-CANCEL may end."""
        self._cancelled: set[int] = set()

    async def run(self) -> None:
        """
        Raises:
            DimseError: the association ended other than by a release, and why.
        """
        try:
            while True:
                await self._upper_layer.connection.flush(self._policy.patience)
                message = await self._messages.next(self._policy.idle)
                if isinstance(message, tuple):
                    await self._perform(*message)
                elif isinstance(message, ReleaseRequest):
                    await self._finish()
                    self._upper_layer.happen(Event.RELEASE_RESPONSE)
                    return
        except PeerSilent:
            self._upper_layer.abort()
            raise
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _finish(self) -> None:
        """Answer what is under way (AR-7) before a release is; nobody waits for matches any more."""
        for message_id in self._queries:
            self._running[message_id].cancel()
        if self._running:
            await asyncio.wait(list(self._running.values()))

    async def _perform(self, context: int, command: Command) -> None:
        handlers = self._handlers
        if command.field == Operation.C_CANCEL:
            self._cancel(command.responded_to)
        elif command.response or command.message_id is None:
            self._upper_layer.violated(f"message {command.field:04X}H answers nothing asked", UNEXPECTED_PDU)
        elif command.message_id in self._running:
            await self._decline(context, command, status.DUPLICATE_INVOCATION)
        elif command.field == Operation.C_ECHO and not command.data_set:
            self._respond(context, command, Answer())
        elif command.field == Operation.C_STORE and handlers.store and command.data_set:
            await self._store(context, command, handlers.store)
        elif command.field == Operation.C_FIND and handlers.find and command.data_set:
            await self._find(context, command, handlers.find)
        else:
            await self._decline(context, command, status.UNRECOGNIZED_OPERATION)

    async def _decline(self, context: int, command: Command, with_status: int) -> None:
        whole = not command.data_set
        while not whole:
            _, whole = await self._messages.data_set(context)
        self._respond(context, command, Answer(with_status))

    def _respond(self, context: int, command: Command, answer: Answer) -> None:
        response = command.answer(answer.status, answer.comment)
        self._upper_layer.send(fragment(context, True, response.encode(), self._maximum))

    # C-STORE

    async def _store(
        self, context: int, command: Command, handler: Callable[[StoreRequest], Awaitable[Answer]]
    ) -> None:
        abstract_syntax, transfer_syntax = self._agreed.accepted[context]
        if command.sop_class_uid != abstract_syntax:
            await self._decline(context, command, status.SOP_CLASS_NOT_SUPPORTED)
            return
        if not _UID.fullmatch(command.sop_instance_uid):
            await self._decline(context, command, status.INVALID_SOP_INSTANCE)
            return
        await self._turn()
        instance = Instance(abstract_syntax, command.sop_instance_uid, transfer_syntax)
        request = StoreRequest(self._caller, instance, self._messages, context)
        if self._agreed.window == 1:
            await self._stored(context, command, request, handler)
            return
        # The next message begins where this data set ends; the handler may go on to its answer meanwhile.
        task = self._aside(command, self._stored(context, command, request, handler))
        task.add_done_callback(lambda _: request.give_up())
        await request.read()
        if request.broken is not None:
            raise request.broken

    async def _stored(
        self,
        context: int,
        command: Command,
        request: StoreRequest,
        handler: Callable[[StoreRequest], Awaitable[Answer]],
    ) -> None:
        answer = _FAILED
        try:
            answer = await handler(request)
        except Refused as refused:
            answer = refused.answer
        except Exception as error:  # noqa: BLE001 - a handler's defect is a failed operation, not a dead receiver
            if request.broken is None:
                _report("store", error)
        if request.broken is not None:
            raise request.broken
        async for _ in request:
            pass
        self._respond(context, command, answer)

    # C-FIND

    async def _find(
        self, context: int, command: Command, handler: Callable[[FindRequest], AsyncGenerator[Match]]
    ) -> None:
        abstract_syntax, transfer_syntax = self._agreed.accepted[context]
        identifier = await self._messages.identifier(context)
        if command.sop_class_uid != abstract_syntax:
            self._respond(context, command, Answer(status.SOP_CLASS_NOT_SUPPORTED))
            return
        await self._turn()
        request = FindRequest(self._caller, abstract_syntax, transfer_syntax, identifier)
        self._aside(command, self._found(context, command, handler(request)))
        assert command.message_id is not None
        self._queries.add(command.message_id)
        await asyncio.sleep(0)  # a task cancelled before its first step would answer nothing

    async def _found(self, context: int, command: Command, matches: AsyncGenerator[Match]) -> None:
        answer = _FAILED
        try:
            async with aclosing(matches):
                async for match in matches:
                    await self._matched(context, command, match)
            answer = Answer()
        except asyncio.CancelledError:
            if command.message_id not in self._cancelled:
                raise
            answer = Answer(status.CANCELLED)
        except Refused as refused:
            answer = refused.answer
        except Exception as error:
            if self._upper_layer.connection.lost is not None or self._upper_layer.over is not None:
                raise
            _report("find", error)
        self._respond(context, command, answer)

    async def _matched(self, context: int, command: Command, match: Match) -> None:
        pending = status.PENDING if match.all_keys_supported else status.PENDING_OPTIONAL_KEYS
        response = command.answer(pending, data_set=True).encode()
        self._upper_layer.send(
            fragment(context, True, response, self._maximum)
            + fragment(context, False, match.identifier, self._maximum)
        )
        try:
            await self._upper_layer.connection.flush(self._policy.patience)
        except PeerSilent as silence:
            self._upper_layer.connection.drop(silence)  # who reads must not wait for it either
            raise

    def _cancel(self, message_id: int | None) -> None:
        """C-CANCEL; one that comes too late is nothing (PS3.7 9.3.2.3)."""
        if message_id in self._queries:
            self._cancelled.add(message_id)
            self._running[message_id].cancel()

    # side by side

    async def _turn(self) -> None:
        """Until one operation more is allowed."""
        limit = self._agreed.window or len(self._running) + 1
        while len(self._running) >= limit:
            await asyncio.wait(list(self._running.values()), return_when=asyncio.FIRST_COMPLETED)

    def _aside(self, command: Command, operation: Coroutine[None, None, None]) -> asyncio.Task[None]:
        message_id = command.message_id
        assert message_id is not None
        task = asyncio.create_task(operation)
        self._running[message_id] = task

        def over(task: asyncio.Task[None]) -> None:
            del self._running[message_id]
            self._queries.discard(message_id)
            self._cancelled.discard(message_id)
            if not task.cancelled():
                error = task.exception()  # one of the association is told by who reads
                if error is not None and not isinstance(error, DimseError):
                    _report("association", error)

        task.add_done_callback(over)
        return task


def _report(what: str, error: BaseException) -> None:
    """Where a defect is, and no more: messages of exceptions may name patients."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("%s in the %s handler, %s line %s", type(error).__name__, what, frame.filename, frame.lineno)
