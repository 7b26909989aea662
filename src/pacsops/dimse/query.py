"""A C-FIND under way, seen by who asked.

Source: PS3.7 9.1.2 and 9.3.2.3 (C-CANCEL-FIND), PS3.4 C.4.1
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from pacsops.dimse.commands import Command
from pacsops.dimse.errors import DimseError, OperationFailed, PeerSilent
from pacsops.dimse.status import CANCELLED, PENDING_OPTIONAL_KEYS, SUCCESS, Answer, category

_AHEAD: Final = 64
"""Matches read ahead of who iterates; then the peer has to wait."""


@dataclass(frozen=True, slots=True)
class Match:
    """One match: its identifier, encoded in the context's transfer syntax."""

    identifier: bytes
    all_keys_supported: bool = True
    """False: the peer does not support some optional key of the query (status FF01)."""


class Query:
    """Iterate over it for the matches. Ends with success, or when `cancel` was asked for; all else raises."""

    def __init__(self, transfer_syntax_uid: str, send_cancel: Callable[[], Awaitable[None]], patience: float) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        """Of identifiers, both ways."""
        self.answer: Answer | None = None
        """The final one, once it came."""
        self._send_cancel = send_cancel
        self._patience = patience
        self._cancelled = False
        self._final: Command | None = None
        self._failure: DimseError | None = None
        self._matches: deque[Match] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Match:
        while not self._matches:
            if self._failure is not None:
                raise self._failure
            if self._final is not None:
                self._conclude(self._final)
                raise StopAsyncIteration
            self._news.clear()
            try:
                async with asyncio.timeout(self._patience):
                    await self._news.wait()
            except TimeoutError:
                raise PeerSilent(f"no answer to C-FIND within {self._patience:g} s") from None
        self._room.set()
        return self._matches.popleft()

    async def cancel(self) -> None:
        """Ask the peer to stop. Matches it has found already still come.

        Raises:
            DimseError: the association is over.
        """
        if not self._cancelled and self.answer is None:
            self._cancelled = True
            await self._send_cancel()

    async def drain(self) -> None:
        """Cancel it unless it is over, and throw away what still comes.

        Raises:
            PeerSilent: the peer does not come to an end.
            DimseError: the association is over.
        """
        if self.answer is not None:
            return
        await self.cancel()
        try:
            async with asyncio.timeout(self._patience):
                while self.answer is None and self._failure is None:
                    self._matches.clear()
                    self._room.set()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise PeerSilent(f"C-FIND did not end within {self._patience:g} s of being cancelled") from None

    async def arrived(self, command: Command, identifier: bytes) -> None:
        """A response came; waits while there is no room for more."""
        status = SUCCESS if command.status is None else command.status
        if category(status) == "pending":
            self._matches.append(Match(identifier, status != PENDING_OPTIONAL_KEYS))
        else:
            self._final = command
            self.answer = Answer(status, command.comment)
        self._news.set()
        if len(self._matches) >= _AHEAD:
            self._room.clear()
            await self._room.wait()

    def failed(self, why: DimseError) -> None:
        """No response will come any more."""
        self._failure = why
        self._news.set()

    def _conclude(self, final: Command) -> None:
        assert self.answer is not None
        status = self.answer.status
        if status == SUCCESS or (status == CANCELLED and self._cancelled):
            return
        raise OperationFailed("C-FIND", status, final.comment, final.offending)
