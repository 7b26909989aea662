"""The sender: `python -m drill.scanner FOLDER PORT AET SEED`, until SIGTERM.

Several associations at a time, whatever happens at the other end. What was not answered with 0000H is sent again
until it is; what was, is in the ledger. Some studies get images later, some images come again with other bytes.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path
from typing import Final

from drill.images import MODALITIES, Image, Maker
from drill.ledger import Entry, Ledger, digest
from pacsops.dimse import (
    Association,
    DimseError,
    Peer,
    StoredInstance,
    Terms,
    Timeouts,
    associate,
    contexts_to_store,
)

AET: Final = "SCANNER"
ASSOCIATIONS: Final = 4
_LATE: Final = 0.15
"""The share of studies that go on with one sent before."""
_TWINS: Final = 0.03
"""The share of images that come once more with other bytes."""
_REMEMBERED: Final = 40
_PATIENCE: Final = Timeouts(connect=3, associate=3, response=6, close=1)


class Scanner:
    """Sends studies one after the other, on several associations."""

    def __init__(self, ledger: Ledger, gateway: Peer, seed: str) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._maker = Maker(seed)
        self._dice = random.Random(f"scanner of {seed}")
        self._sent: list[tuple[str, str]] = []
        """Studies that were sent: UID and modality."""

    async def run(self, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(ASSOCIATIONS):
                group.create_task(self._send_studies(stopping))

    async def _send_studies(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            waiting = self._study()
            while waiting and not stopping.is_set():
                await self._send(waiting)
                if waiting:
                    await asyncio.sleep(self._dice.uniform(0.05, 0.4))
            await asyncio.sleep(self._dice.uniform(0, 0.3))

    def _study(self) -> list[tuple[Image, str]]:
        """Images to be sent, and what kind of entry each is."""
        late = bool(self._sent) and self._dice.random() < _LATE
        study_uid, modality = (
            self._dice.choice(self._sent) if late else (self._maker.uid(), self._dice.choice(MODALITIES))
        )
        series_uid = self._maker.uid()
        waiting = []
        for _ in range(self._dice.randint(1, 8)):
            image = self._maker.image(study_uid, series_uid, modality)
            waiting.append((image, "late" if late else "new"))
            if self._dice.random() < _TWINS:
                waiting.append((self._maker.twin(image), "twin"))
        self._sent = [*self._sent[-_REMEMBERED:], (study_uid, modality)]
        return waiting

    async def _send(self, waiting: list[tuple[Image, str]]) -> None:
        """On one association; what arrived is taken off the list."""
        window = self._dice.choice((1, 4))
        with StoredInstance(waiting[0][0].content) as first:
            contexts = contexts_to_store([first.instance])
        try:
            terms = Terms(window=window, timeouts=_PATIENCE)
            async with associate(self._gateway, AET, contexts, terms) as association:
                # `store` waits for its turn where more are asked for than the window takes.
                await asyncio.gather(*(self._store(association, one, waiting) for one in list(waiting)))
        except DimseError:
            return

    async def _store(
        self, association: Association, one: tuple[Image, str], waiting: list[tuple[Image, str]]
    ) -> None:
        image, kind = one
        try:
            answer = await association.store(image.content)
        except DimseError:
            return  # on the list still
        if answer.status == 0:
            data_set = digest(memoryview(image.content)[image.offset :])
            self._ledger.add(Entry(image.study_uid, image.sop_instance_uid, data_set, image.modality, kind))
            waiting.remove(one)


async def main(folder: Path, port: int, aet: str, seed: str) -> None:
    ledger = Ledger(folder / "ledger")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await Scanner(ledger, Peer("127.0.0.1", port, aet), seed).run(stopping)
    ledger.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
