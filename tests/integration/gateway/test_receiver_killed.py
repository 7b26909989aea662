"""A receiver killed at any point: what it answered with success is in the spool, and nothing there is half."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dimse import in_loop
from tests.support.receiver import ReceivingHost, ct_files, data_set_of

from pacsops.dimse import Association, DimseError, StoredInstance, Terms, associate, contexts_to_store
from pacsops.gateway.spool import LAST_GOOD

# Of the first instance of a study, and which of the calls it is. Fsyncs: the file, the spool, the study's folder.
POINTS = [
    ("pacsops.gateway.part:Part.write", "before", 1),
    ("pacsops.gateway.part:Part.write", "after", 1),
    ("os:fsync", "before", 1),
    ("os:fsync", "after", 1),
    ("os:mkdir", "after", 1),
    ("os:fsync", "after", 2),
    ("os:link", "before", 1),
    ("os:link", "after", 1),
    ("pacsops.gateway.part:Part.close", "after", 1),
    ("os:fsync", "after", 3),
    ("pacsops.gateway.durable:Keeper.keep", "after", 1),
    ("pacsops.dimse.performing:Performer._respond", "before", 1),
    ("pacsops.dimse.performing:Performer._respond", "after", 1),
]


@pytest.fixture
def host() -> Iterator[ReceivingHost]:
    with ReceivingHost() as host:
        yield host


async def sent(host: ReceivingHost, path: Path) -> bool:
    """Whether success was answered."""
    with StoredInstance(path) as stored:
        contexts = contexts_to_store([stored.instance])
    try:
        async with associate(host.peer, "SCANNER", contexts) as association:
            await association.store(path)
    except DimseError:
        return False
    return True


@pytest.mark.parametrize(("point", "moment", "number"), POINTS)
@in_loop
async def test_a_receiver_killed_at_any_point_loses_nothing_and_keeps_nothing_half(
    host: ReceivingHost, tmp_path: Path, point: str, moment: str, number: int
) -> None:
    (path,) = ct_files(tmp_path, 1, size=(400, 400))
    await asyncio.to_thread(host.start, "tests.support.killed_receiver", point, moment, str(number), "image")

    answered = await sent(host, path)

    assert await asyncio.to_thread(host.wait_for_process) == -signal.SIGKILL, host.log
    expected = dict([data_set_of(path)])
    complete = {uid: {digest} for uid, digest in expected.items()}
    assert host.digests() == complete if answered else host.digests() in ({}, complete)

    await asyncio.to_thread(host.start)
    assert not host.under_way
    assert await sent(host, path)
    assert host.digests() == complete
    assert len(host.files) == 1


@pytest.mark.parametrize(
    ("point", "moment", "number"),
    [
        ("os:fsync", "before", 1),
        ("os:fsync", "after", 1),
        ("pathlib:Path.replace", "before", 1),
        ("pathlib:Path.replace", "after", 1),
        ("os:fsync", "after", 2),
    ],
)
@in_loop
async def test_a_receiver_killed_while_it_keeps_its_configuration_keeps_a_whole_one_or_none(
    host: ReceivingHost, tmp_path: Path, point: str, moment: str, number: int
) -> None:
    (path,) = ct_files(tmp_path, 1)
    await asyncio.to_thread(host.start, "tests.support.killed_receiver", point, moment, str(number), "start")
    assert await asyncio.to_thread(host.wait_for_process) == -signal.SIGKILL, host.log
    kept = host.spool / LAST_GOOD
    assert not kept.exists() or kept.read_bytes() == host.gateway_file.read_bytes()

    await asyncio.to_thread(host.start)
    assert kept.read_bytes() == host.gateway_file.read_bytes()
    assert not host.under_way
    host.kill()
    host.write_configuration("peers: [")
    await asyncio.to_thread(host.start)

    assert await sent(host, path)


class Ledger:
    """What a sender was told to be safe: on the disk before anything else happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def safe(self, uid: str, digest: str) -> None:
        os.write(self._descriptor, f"{uid} {digest}\n".encode())
        os.fsync(self._descriptor)

    def entries(self) -> list[tuple[str, str]]:
        lines = self._path.read_text().splitlines()
        return [(uid, digest) for uid, _, digest in (line.partition(" ") for line in lines)]


def many_files(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """CT images of one study that differ in their SOP instance UIDs."""
    (first,) = ct_files(folder, 1, size=size)
    content, uid = first.read_bytes(), first.stem
    paths = []
    for number in range(count):
        other = f"{uid[:-5]}{number:05}"
        paths.append(folder / f"{other}.dcm")
        paths[-1].write_bytes(content.replace(uid.encode(), other.encode()))
    return paths


def running(children: list[int]) -> list[int]:
    """Those that are not dead and waited for."""
    found = []
    for child in children:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(child)
    return found


async def scan(host: ReceivingHost, ledger: Ledger, images: list[Path], over: asyncio.Event, window: int) -> None:
    """Sends its images, each until it was answered with success, until it is over."""
    with StoredInstance(images[0]) as stored:
        contexts = contexts_to_store([stored.instance])
    left = list(images)

    async def store(association: Association, path: Path) -> None:
        await association.store(path)
        ledger.safe(*data_set_of(path))
        left.remove(path)

    while left and not over.is_set():
        with contextlib.suppress(DimseError):
            async with associate(host.peer, "SCANNER", contexts, Terms(window=window)) as association:
                while left and not over.is_set():
                    sending = [asyncio.create_task(store(association, path)) for path in left[:window]]
                    await asyncio.wait(sending)
                    for task in sending:
                        task.result()
        await asyncio.sleep(0.01)


@pytest.mark.timeout(240)
def test_two_hundred_kills_under_traffic_lose_nothing(tmp_path: Path) -> None:
    kills, receivers = 200, 4
    chance = random.Random(4711)
    with ReceivingHost() as host:
        host.start("tests.support.mortal_receivers", str(receivers))
        ledger = Ledger(tmp_path / "ledger")
        sizes = [(16, 16), (64, 64), (400, 400), (128, 128)]
        images = [many_files(tmp_path, 2000, size) for size in sizes]

        async def traffic() -> None:
            over = asyncio.Event()
            senders = [
                asyncio.create_task(scan(host, ledger, one, over, window))
                for one, window in zip(images, (1, 8, 1, 4), strict=True)
            ]
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.02, 0.15))
                while not (alive := running(host.children())):
                    await asyncio.sleep(0.01)
                os.kill(chance.choice(alive), signal.SIGKILL)
            over.set()
            await asyncio.wait(senders)
            for sender in senders:
                sender.result()

        asyncio.run(traffic())
        children = host.children()
        host.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        host.start()  # one that is new clears what the dead had begun

        safe = ledger.entries()
        kept = host.digests()
        sent_ones = {uid: {digest} for paths in images for uid, digest in map(data_set_of, paths)}
        assert len(safe) > kills
        assert [uid for uid, digest in safe if kept.get(uid) != {digest}] == []
        assert all(digests == sent_ones[uid] for uid, digests in kept.items())
        assert len(host.files) == len(kept)
        assert not host.under_way
