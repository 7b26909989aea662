"""PostgreSQL for a loop: each transaction in one of a few threads, and those that must be written, until they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from pacsops.database import Database
from pacsops.errors import DatabaseUnreachable

AT_ONCE = 4
"""Transactions, and connections to PostgreSQL."""
_PAUSE_SECONDS = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class Ledger:
    """The database of deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ledger")

    async def do(self, step: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One step; raises what it raises."""
        return await self.off_loop(partial(step, self._database, *args, **kwargs))

    async def insist(self, step: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One step, again and again while PostgreSQL is away: what it writes is true whenever it can be written."""
        while True:
            try:
                return await self.do(step, *args, **kwargs)
            except DatabaseUnreachable:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def off_loop(self, call: Callable[[], T]) -> T:
        """Anything that may wait."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Nothing more is to be done; a connection closes as its thread ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)
