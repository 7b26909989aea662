"""Nothing is answered with success before it would survive a power failure: the order of system calls says so."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.dimse import EXPLICIT, in_loop, local, policy
from tests.support.receiver import ct_files, data_set_of

from pacsops.dimse import (
    Handlers,
    Instance,
    OperationFailed,
    StoredInstance,
    Terms,
    associate,
    contexts_to_store,
    file_meta,
    serve,
)
from pacsops.gateway import durable
from pacsops.gateway.durable import Folder, Keeper, TooManyVersions
from pacsops.gateway.faults import Faults
from pacsops.gateway.part import Part
from pacsops.gateway.receiver import Receiver
from pacsops.gateway.spool import RECEIVING, clear_leftovers
from pacsops.gateway.tally import Tally

Call = tuple[str, str]
"""What was done, and to what: a name below the spool, `.` for the spool itself."""


def opened(descriptor: int) -> Path:
    """What is open."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class Recorder:
    """The system calls by which bytes become durable, in the order they were done."""

    def __init__(self, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Call] = []
        self._spool = spool
        for name in ("writev", "fsync", "link", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))

    def note(self, what: str, subject: object) -> None:
        path = opened(subject) if isinstance(subject, int) else Path(str(subject))
        if path == self._spool or self._spool in path.parents:
            self.calls.append((what, str(path.relative_to(self._spool))))

    def _recorded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(subject: Any, *others: Any, **named: Any) -> Any:
            if name != "link":
                self.note(name, subject)
                return real(subject, *others, **named)
            done = real(subject, *others, **named)
            self.note("link", opened(named["dst_dir_fd"]) / others[0])
            return done

        return call


def assert_durable_before_answered(calls: list[Call], file: str) -> None:
    """Write, fsync, final name, fsync of the folder and of the spool, answer: in this order, for one instance."""
    study = file.partition("/")[0]
    answered = calls.index(("answer", file))
    linked = calls.index(("link", file))
    (part,) = {subject for what, subject in calls if what == "writev"}
    written = max(at for at, call in enumerate(calls) if call == ("writev", part))
    assert ("fsync", part) in calls[written:linked], "its bytes may be lost under its final name"
    assert ("fsync", study) in calls[linked:answered], "its name may be lost"
    assert ("fsync", ".") in calls[calls.index(("mkdir", study)) : answered], "its folder may be lost"
    assert ("unlink", part) in calls[linked:answered]


@contextmanager
def a_receiver(spool: Path) -> Iterator[Receiver]:
    (spool / RECEIVING).mkdir(parents=True, exist_ok=True)
    receiver = Receiver(spool, 0, Faults(spool, False), Tally())
    yield receiver
    receiver.close()


async def recorded(spool: Path, path: Path, recorder: Recorder) -> str:
    """Send one instance; the name it was kept by."""
    with a_receiver(spool) as receiver:
        handlers = Handlers(store=receiver.store)
        async with serve("127.0.0.1", 0, handlers, policy()) as acceptor:
            with StoredInstance(path) as stored:
                async with associate(
                    local(acceptor.port), "SCANNER", contexts_to_store([stored.instance])
                ) as association:
                    await association.store(stored)
                    (file,) = (subject for what, subject in recorder.calls if what == "link")
                    recorder.note("answer", spool / file)
    return file


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "spool"
    spool.mkdir()
    return spool


@in_loop
async def test_an_instance_is_durable_before_it_is_answered(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = ct_files(tmp_path, 1, size=(400, 400))
    recorder = Recorder(spool, monkeypatch)

    file = await recorded(spool, path, recorder)

    assert_durable_before_answered(recorder.calls, file)


def without_the_files_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda it: None if opened(it).suffix == ".part" else real(it))


def without_folders_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "sync", lambda self: None)


def without_the_spools_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Folder.sync
    monkeypatch.setattr(Folder, "sync", lambda self: None if _is_spool(self) else real(self))


def answered_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Keeper.keep

    def kept_later(self: Keeper, part: Part, study_uid: str, sop_instance_uid: str) -> durable.Kept:
        kept = real(self, part, study_uid, sop_instance_uid)
        threading.Timer(0.3, self._folder(study_uid).sync).start()
        return kept

    monkeypatch.setattr(Keeper, "keep", kept_later)
    monkeypatch.setattr(Folder, "sync", _unless_a_timer(Folder.sync))


def _unless_a_timer(real: Callable[[Folder], None]) -> Callable[[Folder], None]:
    def sync(self: Folder) -> None:
        if _is_spool(self) or isinstance(threading.current_thread(), threading.Timer):
            real(self)

    return sync


def _is_spool(folder: Folder) -> bool:
    return opened(folder.descriptor).name == "spool"


@pytest.mark.parametrize(
    ("mutation", "lost"),
    [
        (without_the_files_fsync, "its bytes"),
        (without_folders_fsync, "its name"),
        (without_the_spools_fsync, "its folder"),
        (answered_before_it_is_kept, "its name"),
    ],
)
@in_loop
async def test_leaving_out_one_step_is_noticed(
    spool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutation: Callable[[pytest.MonkeyPatch], None],
    lost: str,
) -> None:
    (path,) = ct_files(tmp_path, 1)
    recorder = Recorder(spool, monkeypatch)
    mutation(monkeypatch)

    file = await recorded(spool, path, recorder)

    with pytest.raises(AssertionError, match=f"{lost} may be lost"):
        assert_durable_before_answered(recorder.calls, file)


@in_loop
async def test_a_duplicate_is_answered_when_the_first_one_is_durable(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = ct_files(tmp_path, 1)
    file = await recorded(spool, path, Recorder(spool, monkeypatch))
    monkeypatch.undo()
    study = file.partition("/")[0]
    # A receiver that was killed between the name and the folder's fsync left it like this.
    recorder = Recorder(spool, monkeypatch)
    with a_receiver(spool) as receiver, StoredInstance(path) as stored:
        async with (
            serve("127.0.0.1", 0, Handlers(store=receiver.store), policy()) as acceptor,
            associate(local(acceptor.port), "SCANNER", contexts_to_store([stored.instance])) as association,
        ):
            await association.store(stored)

    assert ("fsync", study) in recorder.calls
    assert ("fsync", ".") in recorder.calls
    assert not [subject for what, subject in recorder.calls if what == "link"]


@pytest.mark.parametrize("failing", [r"\.part$", r"^spool$", r"^1\.[0-9.]+$"], ids=["file", "spool", "study"])
@in_loop
async def test_an_fsync_that_fails_is_no_success(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (path,) = ct_files(tmp_path, 1)
    real = os.fsync
    broken = True

    def fsync(descriptor: int) -> None:
        if broken and re.search(failing, opened(descriptor).name):
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with a_receiver(spool) as receiver, StoredInstance(path) as stored:
        async with (
            serve("127.0.0.1", 0, Handlers(store=receiver.store), policy()) as acceptor,
            associate(local(acceptor.port), "SCANNER", contexts_to_store([stored.instance])) as association,
        ):
            with pytest.raises(OperationFailed, match=r"0xA700.*Input/output error"):
                await association.store(stored)
            assert not list((spool / RECEIVING).iterdir())
            broken = False
            await association.store(path)

    (kept,) = (one for one in spool.rglob("*.dcm"))
    assert data_set_of(kept) == data_set_of(path)


@in_loop
async def test_a_window_of_operations_shares_its_fsyncs(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ct_files(tmp_path, 64)
    with StoredInstance(paths[0]) as stored:
        contexts = contexts_to_store([stored.instance])
    fsync = os.fsync

    def by_a_slow_disk(descriptor: int) -> None:
        """Folders take so long that others come meanwhile, however quick the disk of this machine."""
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            time.sleep(0.05)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", by_a_slow_disk)
    recorder = Recorder(spool, monkeypatch)
    with a_receiver(spool) as receiver:
        async with (
            serve("127.0.0.1", 0, Handlers(store=receiver.store), policy()) as acceptor,
            associate(local(acceptor.port), "SCANNER", contexts, Terms(window=16)) as association,
        ):
            await asyncio.gather(*(association.store(path) for path in paths))

    folders = [subject for what, subject in recorder.calls if what == "fsync" and not subject.endswith(".part")]
    assert len(folders) < len(paths)


def test_one_fsync_serves_all_who_wait_for_it_and_none_who_came_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    begun: list[float] = []
    lock = threading.Lock()

    def slow(descriptor: int) -> None:
        with lock:
            begun.append(time.monotonic())
        time.sleep(0.05)

    monkeypatch.setattr(os, "fsync", slow)

    def one(number: int) -> bool:
        time.sleep(number * 0.004)
        called = time.monotonic()
        folder.sync()
        returned = time.monotonic()
        return any(called <= at and at + 0.05 <= returned for at in begun)

    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(one, range(32)))
    assert len(begun) < 16


def test_a_folder_that_was_removed_meanwhile_is_made_again(spool: Path) -> None:
    (spool / RECEIVING).mkdir()
    keeper = Keeper(spool)
    for number in range(3):
        part = Part(spool, b"meta")
        part.write([memoryview(b"data")])
        kept = keeper.keep(part, "1.2", f"1.2.{number}")
        assert (spool / kept.file).read_bytes() == b"metadata"
        (spool / kept.file).unlink()
        (spool / "1.2").rmdir()


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(spool: Path) -> None:
    receiving_folder = spool / RECEIVING
    receiving_folder.mkdir()
    of_the_living = receiving_folder / f"{os.getppid()}-1.part"
    for name in (of_the_living.name, f"{os.getpid()}-7.part", "99999999-3.part"):
        (receiving_folder / name).write_bytes(b"half")

    assert clear_leftovers(spool) == 2

    assert list(receiving_folder.iterdir()) == [of_the_living]


def test_contents_of_one_uid_have_an_end(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spool / RECEIVING).mkdir()
    monkeypatch.setattr(durable, "MOST_VERSIONS", 3)
    keeper = Keeper(spool)

    def kept(content: bytes) -> str:
        part = Part(spool, file_meta(Instance("1.2", "1.2.3", EXPLICIT)))
        part.write([memoryview(content)])
        return keeper.keep(part, "1.2", "1.2.3").file

    image = [b"\x08\0\x60\0CS\x02\0C" + bytes([number]) for number in range(4)]
    assert [kept(one) for one in image[:3]] == ["1.2/1.2.3.dcm", "1.2/1.2.3~2.dcm", "1.2/1.2.3~3.dcm"]
    with pytest.raises(TooManyVersions):
        kept(image[3])
    assert kept(image[1]) == "1.2/1.2.3~2.dcm"
    assert not list((spool / RECEIVING).iterdir())
