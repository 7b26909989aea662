"""C-STORE into the gateway, beside other receivers and the disk alone; on one association and on eight."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.support.postgres import PostgresServer

from benchmarks import receivers
from benchmarks.measure import Figure, in_turns
from benchmarks.parts import cpu_seconds, peak_mebibytes
from benchmarks.receivers import Receiver
from benchmarks.traffic import SIZES, images, per_second, send, storescu, write
from pacsops.dimse import Peer

ROUNDS = 3
ASSOCIATIONS = (1, 8)
WINDOW = 16
SENDERS = (("storescu", storescu), ("our sender", send))


def measure(postgres: PostgresServer) -> list[Figure]:
    """Instances a second, from files to files. No PostgreSQL but that of Orthanc."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        one, two = (stack.enter_context(receivers.gateway(processes)) for processes in (1, 2))
        peers = [
            stack.enter_context(peer)
            for peer in (receivers.storescp(), receivers.pynetdicom(), receivers.orthanc(postgres))
        ]
        for what, count, size in SIZES:
            with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
                files = images(Path(folder), count, size)
                for (name, sender), associations in itertools.product(SENDERS, ASSOCIATIONS):
                    systems = [one, *([two] if sender is send and associations > 1 else []), *peers]
                    title = f"{what}: {name}, {associations} association{'s' * (associations > 1)} → {one.name}"
                    figures += _beside_each_other(title, partial(sender, associations=associations), files, systems)
                figures += _alone(what, files, one)
        figures += _costs(one)
    return figures


def _beside_each_other(
    title: str, sender: Callable[[Peer, Sequence[Path]], None], files: list[Path], systems: list[Receiver]
) -> list[Figure]:
    runs = [per_second(len(files), partial(sender, system.peer, files), system.clear) for system in systems]
    value, *others = in_turns(*runs, rounds=ROUNDS)
    return [
        Figure(name=title, value=value, unit="instances/s", peer=peer.name, peer_value=peer_value)
        for peer, peer_value in zip(systems[1:], others, strict=True)
    ]


def _alone(what: str, files: list[Path], ours: Receiver) -> list[Figure]:
    """Beside what the disk takes without a network; one operation after the other, and several at a time."""
    single, windows, disk = in_turns(
        *(per_second(len(files), partial(send, ours.peer, files, window=w), ours.clear) for w in (1, WINDOW)),
        per_second(len(files), partial(write, files)),
        rounds=ROUNDS,
    )
    peer = "write, fsync, rename, fsync: no network"
    return [
        Figure(
            name=f"{what}: our sender, {how} → {ours.name}", value=v, unit="instances/s", peer=peer, peer_value=disk
        )
        for how, v in (("1 association", single), (f"{WINDOW} operations at a time on one", windows))
    ]


def _costs(ours: Receiver) -> list[Figure]:
    """What an image costs the receiver."""
    (pid,) = ours.pids
    figures = []
    for what, count, size in SIZES:
        with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
            files = images(Path(folder), count, size)
            before = cpu_seconds(pid)
            for _ in range(ROUNDS):
                per_second(count, partial(send, ours.peer, files, 8), ours.clear)()
            milliseconds = 1000 * (cpu_seconds(pid) - before) / (ROUNDS * count)
        figures.append(Figure(name=f"{what}: receiver's CPU for each", value=milliseconds, unit="ms"))
    return [*figures, Figure(name="receiver's memory at its peak", value=peak_mebibytes(pid), unit="MiB")]
