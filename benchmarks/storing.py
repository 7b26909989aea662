"""C-STORE on one association: DCMTK's sender and receiver, ours, and the disk alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.network import accepts, eventually, free_port
from tests.support.postgres import PostgresServer

from benchmarks.measure import Figure, in_turns
from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import Peer, StoredInstance, Terms, associate, contexts_to_store

ROUNDS = 3
WINDOW = 16
SIZES = (("CT of 512 KiB", 60, (512, 512)), ("images of 10 KiB", 100, (64, 80)))


def measure(_: PostgresServer) -> list[Figure]:
    """Instances a second, from files to files; no database. Ours fsyncs before it answers, storescp does not."""
    figures: list[Figure] = []
    for what, count, size in SIZES:
        with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder, _receivers() as (theirs, ours):
            files = _images(Path(folder), count, size)
            between_theirs, to_ours, from_ours, between_ours, pipelined, disk = in_turns(
                _rate(count, partial(_storescu, theirs, files)),
                _rate(count, partial(_storescu, ours, files)),
                _rate(count, partial(_send, theirs, files)),
                _rate(count, partial(_send, ours, files)),
                _rate(count, partial(_send, ours, files, window=WINDOW)),
                _rate(count, partial(_write, files)),
                rounds=ROUNDS,
            )
        dcmtk = "DCMTK storescu → storescp (no fsync)"
        alone = "write, fsync, rename, fsync: no network"
        for name, value, peer, peer_value in (
            (f"{what}: storescu → our receiver, on disk before the answer", to_ours, dcmtk, between_theirs),
            (f"{what}: our sender → storescp", from_ours, dcmtk, between_theirs),
            (f"{what}: our sender → our receiver, on disk before the answer", between_ours, alone, disk),
            (f"{what}: the same, {WINDOW} operations at a time", pipelined, alone, disk),
        ):
            figures.append(Figure(name=name, value=value, unit="instances/s", peer=peer, peer_value=peer_value))
    return figures


@contextmanager
def _receivers() -> Iterator[tuple[int, int]]:
    """The ports of storescp and of our receiver, each with a folder to write to."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="pacsops-bench-") as theirs,
        tempfile.TemporaryDirectory(prefix="pacsops-bench-") as ours,
        _process("/usr/bin/storescp", "-od", theirs, str(port)),
        _process(sys.executable, "-m", "benchmarks.durable_receiver", ours) as receiver,
    ):
        assert receiver.stdout is not None
        own_port = int(receiver.stdout.readline())
        eventually(lambda: accepts(port), what="storescp listening")
        yield port, own_port


@contextmanager
def _process(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    study = Study()
    study.add_series("CT", sizes=[size] * count)
    paths = [folder / f"{number:04}.dcm" for number in range(count)]
    for path, dataset in zip(paths, study.datasets, strict=True):
        path.write_bytes(part10(dataset))
    return paths


def _rate(count: int, work: Callable[[], None]) -> Callable[[], float]:
    def measured() -> float:
        started = time.perf_counter()
        work()
        return count / (time.perf_counter() - started)

    return measured


def _storescu(port: int, files: list[Path]) -> None:
    command = ["/usr/bin/storescu", "-aec", "ANY", "127.0.0.1", str(port), *map(str, files)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _send(port: int, files: list[Path], window: int = 1) -> None:
    asyncio.run(_send_all(port, files, window))


async def _send_all(port: int, files: list[Path], window: int) -> None:
    with StoredInstance(files[0]) as first:
        contexts = contexts_to_store([first.instance])
    async with associate(Peer("127.0.0.1", port, "ANY"), "BENCH", contexts, Terms(window=window)) as association:
        await asyncio.gather(*(association.store(file) for file in files))


def _write(files: list[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
        directory = os.open(folder, os.O_RDONLY)
        try:
            for path in files:
                content = path.read_bytes()
                partial_path = Path(folder) / f"{path.name}.part"
                with partial_path.open("wb", buffering=0) as file:
                    file.write(content)
                    os.fsync(file.fileno())
                partial_path.rename(Path(folder) / path.name)
                os.fsync(directory)
        finally:
            os.close(directory)
