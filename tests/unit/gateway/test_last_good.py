"""The last good gateway.yml outlives the process that accepted it, whatever became of the file since."""

from __future__ import annotations

import errno
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pacsops.gateway import last_good as kept
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.spool import LAST_GOOD, clear_leftovers
from pacsops.gateway.watch import ConfigurationWatch

GOOD = "peers:\n- {aet: CT1}\n"
BROKEN = ["peers: [", "peers: 7", "nonsense: 1", "", "\0", "\udcff"]


class Host:
    """A gateway.yml and a spool, and processes that come and go."""

    def __init__(self, folder: Path) -> None:
        self.file, self.spool = folder / "gateway.yml", folder / "spool"
        self.spool.mkdir()

    def says(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_bytes(text.encode(errors="surrogateescape"))
        new.replace(self.file)

    def process(self) -> ConfigurationWatch:
        watch = ConfigurationWatch(self.file, self.spool)
        watch.look()
        return watch

    @property
    def kept(self) -> Path:
        return self.spool / LAST_GOOD


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def titles(watch: ConfigurationWatch) -> list[str]:
    return [peer.aet for peer in watch().peers]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_process_that_starts_beside_a_broken_file_goes_on_with_the_last_good_one(
    host: Host, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.says(GOOD)
    accepted_at = host.process().told()["accepted_at"]
    host.says(broken)
    caplog.set_level(logging.INFO, "pacsops")
    caplog.clear()

    watch = host.process()

    assert titles(watch) == ["CT1"]
    assert [record.message for record in caplog.records] == ["configuration_rejected", "configuration_kept"]
    assert watch.told()["accepted_at"] == accepted_at
    assert str(host.file) in watch.told()["rejected"]


def test_one_that_is_not_there_is_broken_too(host: Host) -> None:
    host.says(GOOD)
    host.process()
    host.file.unlink()

    assert titles(host.process()) == ["CT1"]


def test_before_the_first_good_file_nobody_may_send(host: Host) -> None:
    host.says("peers: 7")

    watch = host.process()

    assert watch() == Configuration()
    assert watch.told()["accepted_at"] is None
    assert list(host.spool.iterdir()) == []


def test_a_mended_file_is_in_force_again_and_is_the_last_good_one(host: Host) -> None:
    host.says(GOOD)
    host.process()
    host.says("peers: 7")
    watch = host.process()

    host.says("peers: [{aet: CT2}]")
    assert watch.look()

    assert watch.told()["rejected"] is None
    host.says("peers: 7")
    assert titles(host.process()) == ["CT2"]


def test_a_broken_file_while_it_runs_is_told_and_never_kept(host: Host) -> None:
    host.says(GOOD)
    watch = host.process()
    host.says("peers: 7")

    assert not watch.look()

    assert titles(watch) == ["CT1"]
    assert "peers: a list is wanted" in watch.told()["rejected"]
    assert host.kept.read_text() == GOOD


def test_only_the_gateways_group_reads_it_besides_itself(host: Host) -> None:
    host.says(GOOD)
    host.process()

    assert stat.S_IMODE(host.kept.stat().st_mode) == 0o640


def test_it_is_durable_before_it_takes_the_place_of_the_one_before(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.replace

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replaced(path: Path, target: Path) -> Path:
        calls.append(("rename", path.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", replaced)

    kept.keep(host.spool, GOOD)

    part = calls[0][1]
    assert calls == [("fsync", part), ("rename", part), ("fsync", host.spool.name)]
    calls.clear()
    kept.keep(host.spool, GOOD)
    assert calls == [("fsync", host.spool.name)], "what is kept already is written again"


def test_many_processes_keep_at_a_time_and_one_of_theirs_is_whole(host: Host) -> None:
    texts = [f"peers:\n- {{aet: CT{number}}}\n" + "#" * 100_000 * number for number in range(8)]

    with ThreadPoolExecutor(8) as processes:
        for _ in range(5):
            list(processes.map(lambda text: kept.keep(host.spool, text), texts))
            assert host.kept.read_text() in texts

    assert [path.name for path in (host.spool / ".receiving").iterdir()] == []


def test_what_a_process_killed_on_the_way_leaves_is_removed_by_the_next_receiver(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(host.spool, GOOD)

    def killed(path: Path, target: Path) -> Any:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            kept.keep(host.spool, "peers: []")

    assert host.kept.read_text() == GOOD
    assert clear_leftovers(host.spool) == 1


def test_a_disk_that_takes_nothing_keeps_no_configuration_out_of_force(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host.says(GOOD)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        watch = host.process()
        watch.look()
    assert titles(watch) == ["CT1"]
    assert [record.message for record in caplog.records].count("configuration_not_kept") == 1
    assert not host.kept.exists()

    watch.look()

    assert host.kept.read_text() == GOOD


def test_one_that_a_later_version_does_not_accept_is_none(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    kept.keep(host.spool, "peers: 7")
    host.says("peers: [")

    assert host.process()() == Configuration()
    assert [record.message for record in caplog.records] == ["configuration_rejected", "configuration_lost"]
