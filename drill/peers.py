"""The receiving peers: `python -m drill.peers FOLDER NAME=PORT…`, until SIGTERM.

Each writes down what it is given, with its digest, before it answers. How one answers is in the file
FOLDER/NAME.mood: a status in hexadecimal digits, `abort` or `silence`; without one it takes everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from pydicom.uid import AllTransferSyntaxes

from drill.ledger import Journal
from pacsops.dimse import Answer, Handlers, Policy, StoreRequest, serve

ABORT: Final = "abort"
SILENCE: Final = "silence"
"""It takes images and does not answer, as long as the mood lasts."""
_SYNTAXES: Final = frozenset(map(str, AllTransferSyntaxes))


class Peer:
    """A peer of changing moods."""

    def __init__(self, folder: Path, name: str) -> None:
        self._journal = Journal(folder / f"{name}.journal")
        self._mood = folder / f"{name}.mood"

    async def store(self, request: StoreRequest) -> Answer:
        said = hashlib.sha256()
        async for views in request:
            for view in views:
                said.update(view)
        mood = self._now()
        if mood == ABORT:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # the association's own: its windows are of one operation
            await asyncio.sleep(0)
        while self._now() == SILENCE:
            await asyncio.sleep(0.2)
        if mood and mood != SILENCE:
            return Answer(int(mood, 16))
        self._journal.add(request.instance.sop_instance_uid, said.hexdigest())
        return Answer()

    def _now(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self._mood.read_text()
        return ""


def set_mood(folder: Path, name: str, mood: str) -> Callable[[], None]:
    """Let a peer be in a mood; what ends it."""
    path = folder / f"{name}.mood"
    new = path.with_suffix(".new")
    new.write_text(mood)
    new.replace(path)
    return path.unlink


async def main(folder: Path, ports: dict[str, int]) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    policy = Policy(transfer_syntaxes=lambda _: _SYNTAXES, window=1)
    async with AsyncExitStack() as stack:
        for name, port in ports.items():
            handlers = Handlers(store=Peer(folder, name).store)
            await stack.enter_async_context(serve("127.0.0.1", port, handlers, policy))
        await stopping.wait()


if __name__ == "__main__":
    said = (argument.partition("=") for argument in sys.argv[2:])
    asyncio.run(main(Path(sys.argv[1]), {name: int(port) for name, _, port in said}))
