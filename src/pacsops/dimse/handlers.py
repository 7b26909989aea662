"""What an acceptor is told and asked: the requests, and the functions that perform them.

Source: PS3.7 9.1
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from pacsops.dimse.errors import DimseError
from pacsops.dimse.messages import MessageReader
from pacsops.dimse.part10 import Instance
from pacsops.dimse.pdu import AssociateRequest
from pacsops.dimse.query import Match
from pacsops.dimse.status import Answer


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of an association."""

    aet: str
    address: str
    request: AssociateRequest = field(repr=False)
    """All it said, e.g. which AE title it called."""


class StoreRequest:
    """A C-STORE on its way in. Iterate over it, once, for the data set: lists of views, as they come.

    A list is valid until the next one is asked for; `os.writev` takes it as it is. Together they are the data set as
    the peer encoded it, in the transfer syntax of `instance`. What is not read of it is thrown away.
    """

    def __init__(self, caller: Caller, instance: Instance, messages: MessageReader, context: int) -> None:
        self.caller = caller
        self.instance = instance
        """Its SOP instance UID consists of digits and dots, 64 at most."""
        self.whole = False
        """Whether all of the data set has come."""
        self.broken: DimseError | None = None
        """Why the rest will not come."""
        self._messages = messages
        self._context = context
        self._over: asyncio.Event | None = None
        self._abandoned = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[memoryview]:
        """
        Raises:
            DimseError: the rest will not come. Whatever the handler answers then reaches nobody.
        """
        if self.whole:
            raise StopAsyncIteration
        try:
            views, self.whole = await self._messages.data_set(self._context)
        except DimseError as error:
            self.broken = error
            raise
        if self.whole and self._over is not None:
            self._over.set()
        return views

    async def read(self) -> None:
        """Until all of it has come, or nobody reads it any more."""
        if not self.whole and not self._abandoned:
            self._over = asyncio.Event()
            await self._over.wait()

    def give_up(self) -> None:
        """Nobody reads it any more."""
        self._abandoned = True
        if self._over is not None:
            self._over.set()


@dataclass(frozen=True, slots=True)
class FindRequest:
    """A C-FIND: `identifier` is encoded in `transfer_syntax_uid`, and so have matches to be."""

    caller: Caller
    sop_class_uid: str
    transfer_syntax_uid: str
    identifier: bytes = field(repr=False)


class Refused(Exception):
    """Raised by a handler: the operation ends with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer))
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What an acceptor performs. C-ECHO is answered by itself; what has no handler, with a failure.

    On an association with an operations window several of them run at once.
    """

    store: Callable[[StoreRequest], Awaitable[Answer]] | None = None
    """Answers when the instance is safe."""
    find: Callable[[FindRequest], AsyncGenerator[Match]] | None = None
    """Yields the matches; ends where it waits when the peer cancels."""
