"""Images as files, the two senders, and the clock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import Peer, StoredInstance, Terms, associate, contexts_to_store

AET = "BENCH"
"""Every sender's."""
SIZES = (("CT of 512 KiB", 40, (512, 512)), ("images of 10 KiB", 80, (64, 80)))
"""What, how many of it a run sends, and rows and columns."""


def images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Files of one series of CT images."""
    study = Study()
    study.add_series("CT", sizes=[size] * count)
    paths = [folder / f"{number:04}.dcm" for number in range(count)]
    for path, dataset in zip(paths, study.datasets, strict=True):
        path.write_bytes(part10(dataset))
    return paths


def shares(files: Sequence[Path], associations: int) -> list[list[Path]]:
    """Dealt out evenly."""
    return [list(files[number::associations]) for number in range(associations)]


def storescu(peer: Peer, files: Sequence[Path], associations: int = 1) -> None:
    """DCMTK's sender, a process for each association."""
    command = ["/usr/bin/storescu", "-aet", AET, "-aec", peer.aet, peer.host, str(peer.port)]
    running = [
        subprocess.Popen([*command, *map(str, share)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for share in shares(files, associations)
    ]
    assert [process.wait() for process in running] == [0] * associations


def send(peer: Peer, files: Sequence[Path], associations: int = 1, *, window: int = 1) -> None:
    """Our sender, one process."""

    async def one(share: list[Path]) -> None:
        with StoredInstance(share[0]) as first:
            contexts = contexts_to_store([first.instance])
        async with associate(peer, AET, contexts, Terms(window=window)) as association:
            await asyncio.gather(*(association.store(file) for file in share))

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for share in shares(files, associations):
                group.create_task(one(share))

    asyncio.run(all_of_them())


def write(files: Sequence[Path]) -> None:
    """What the disk alone takes: write, fsync, rename, fsync of the folder, one after the other."""
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
        directory = os.open(folder, os.O_RDONLY)
        try:
            for path in files:
                content = path.read_bytes()
                partial = Path(folder) / f"{path.name}.part"
                with partial.open("wb", buffering=0) as file:
                    file.write(content)
                    os.fsync(file.fileno())
                partial.rename(Path(folder) / path.name)
                os.fsync(directory)
        finally:
            os.close(directory)


def per_second(count: int, work: Callable[[], None], clear: Callable[[], None] = lambda: None) -> Callable[[], float]:
    """Measures `count` things by `work`; before the clock starts, `clear`, and what the kernel still has to write."""

    def measured() -> float:
        clear()
        os.sync()
        started = time.perf_counter()
        work()
        return count / (time.perf_counter() - started)

    return measured
