"""What of the received is to be sent: from numbers of gateway_instance to files of the spool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.dimse import Instance
from pacsops.gateway.spool import instance_path
from pacsops.sending.outlet import Content, Gone, Outgoing

_STORED = """
SELECT id, file, sop_class_uid, sop_instance_uid, transfer_syntax_uid
  FROM gateway_instance WHERE id = ANY (%(ids)s) ORDER BY id
"""


def outgoing(database: Database, spool: Path, ids: Collection[str]) -> list[Outgoing]:
    """The instances of these numbers, in the order they came in."""
    with database.transaction() as tx:
        rows = tx.all(_STORED, ids=[int(one) for one in ids])
    return [_outgoing(spool, row) for row in rows]


def _outgoing(spool: Path, row: Row) -> Outgoing:
    instance = Instance(row["sop_class_uid"], row["sop_instance_uid"], row["transfer_syntax_uid"])
    return Outgoing(str(row["id"]), instance, _opener(instance_path(spool, row["file"]), row["id"]))


def _opener(path: Path, number: int) -> Callable[[], AbstractAsyncContextManager[Content]]:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Content]:
        if not path.exists():
            raise Gone(f"the file of image {number} is not in the spool any more")
        yield path

    return open_
