"""What goes wrong while backups are made, and what is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.backup import BackedUpSite
from tests.support.network import eventually
from tests.support.studies import a_study

pytestmark = pytest.mark.timeout(180)

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def big_file(site: BackedUpSite, name: str, octets: int) -> Path:
    """A file in the storage that nothing compresses."""
    path = site.orthanc.storage / name
    path.write_bytes(os.urandom(octets))
    return path


def slowly(site: BackedUpSite) -> None:
    """From now on restic writes 8 MiB a second: a backup is under way as long as a test needs it."""
    slow = site.folder / "slow-restic"
    slow.write_text('#!/bin/sh\nexec restic --limit-upload 8192 "$@"\n')
    slow.chmod(0o755)
    site.configure(restic=str(slow))


def test_a_repository_without_room_is_refused_before_anything_begins(
    backed_up: BackedUpSite, small_disk: Path
) -> None:
    backed_up.configure(repository=str(small_disk / "repository"))
    backed_up.orthanc_command("backup")
    big_file(backed_up, "big", 100 * MIB)
    before = sorted(small_disk.rglob("*"))

    refused = backed_up.orthanc_command("backup", status=2)

    assert refused["error"]["kind"] == "BackupRefused"
    assert f"too little space on the disk of {small_disk}" in refused["error"]["message"]
    assert "for what is new in the repository" in refused["error"]["message"]
    assert sorted(small_disk.rglob("*")) == before
    big_file(backed_up, "big", 0)
    assert backed_up.orthanc_command("backup")["files"] == 1, "once there is room, it goes on"


def test_a_disk_that_fills_up_meanwhile_is_said_and_earlier_backups_are_whole(
    backed_up: BackedUpSite, small_disk: Path
) -> None:
    """The estimate is right for what pacsops sees; somebody else takes the room while the backup runs."""
    backed_up.configure(repository=str(small_disk / "repository"))
    first = backed_up.orthanc_command("backup")
    big_file(backed_up, "big", 20 * MIB)
    # restic writes the new images from 20 MiB of random octets: what stands here after the check takes their room.
    hook = backed_up.folder / "restic"
    hook.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" backup "*) head -c 90M /dev/zero >{small_disk}/somebody-elses 2>/dev/null;; esac\n'
        'exec restic "$@"\n'
    )
    hook.chmod(0o755)
    backed_up.configure(repository=str(small_disk / "repository"), restic=str(hook))

    failed = backed_up.orthanc_command("backup", status=2)
    (small_disk / "somebody-elses").unlink()

    assert failed["error"]["kind"] == "BackupFailed"
    assert "is full; earlier backups are whole" in failed["error"]["message"]
    backed_up.configure(repository=str(small_disk / "repository"))
    assert [each["id"] for each in backed_up.orthanc_command("backup", "list")["backups"]] == [first["id"]]
    assert backed_up.orthanc_command("backup", "verify")["backup_id"] == first["id"]
    assert backed_up.orthanc_command("backup")["files"] == 1


def test_a_work_folder_without_room_for_the_dumps_is_refused(backed_up: BackedUpSite, small_disk: Path) -> None:
    backed_up.configure(work=str(small_disk / "work"))
    (small_disk / "ballast").write_bytes(b"\0" * 40 * MIB)

    refused = backed_up.orthanc_command("backup", status=2)

    assert "for dumps of the databases" in refused["error"]["message"]
    assert not backed_up.repository.exists()


def test_a_wrong_password_is_named_and_changes_nothing(backed_up: BackedUpSite) -> None:
    backed_up.orthanc_command("backup")
    backed_up.password.write_text("another\n")

    for command in (("backup",), ("backup", "list"), ("backup", "verify"), ("restore", "latest", "--yes")):
        refused = backed_up.orthanc_command(*command, status=2)
        assert f"{backed_up.password} does not open the repository" in refused["error"]["message"]

    backed_up.password.write_text("a-repository-password\n")
    assert len(backed_up.orthanc_command("backup", "list")["backups"]) == 1


def test_a_password_that_others_may_read_is_not_used(backed_up: BackedUpSite) -> None:
    backed_up.password.chmod(0o644)

    refused = backed_up.orthanc_command("backup", status=2)

    assert refused["error"]["hint"] == f"chmod 600 {backed_up.password}"


def test_a_repository_that_vanished_is_not_made_anew_in_its_place(backed_up: BackedUpSite) -> None:
    """Its disk is not mounted: a new repository would fill the disk below, and hide that there are no backups."""
    backed_up.orthanc_command("backup")
    backed_up.repository.rename(backed_up.folder / "unmounted")

    refused = backed_up.orthanc_command("backup", status=2)

    assert "is gone" in refused["error"]["message"]
    assert not backed_up.repository.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_backup_says_so_and_the_next_one_is_whole(
    backed_up: BackedUpSite, number: signal.Signals
) -> None:
    first = backed_up.orthanc_command("backup")
    big_file(backed_up, "big", 400 * MIB)
    slowly(backed_up)
    running = backed_up.started("backup")
    eventually(lambda: stores(backed_up), within=60, what="restic writing new data")

    running.send_signal(number)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 2
    assert "the backup was interrupted; the repository is well and earlier backups are whole" in said
    assert list((backed_up.repository / "locks").iterdir()) == []
    assert not (backed_up.work / "pacsops-staging").exists()
    assert [each["id"] for each in backed_up.orthanc_command("backup", "list")["backups"]] == [first["id"]]
    runs = backed_up.orthanc_command("backup", "status", status=1)["runs"]
    assert [(run["ok"], run["detail"].get("error")) for run in runs] == [(False, "interrupted"), (True, None)]
    big_file(backed_up, "big", MIB)
    backed_up.configure()
    assert backed_up.orthanc_command("backup")["files"] == 1
    assert backed_up.restic("check").returncode == 0


def test_a_second_run_says_that_one_runs_and_a_killed_one_is_in_nobodys_way(backed_up: BackedUpSite) -> None:
    backed_up.orthanc_command("backup")
    big_file(backed_up, "big", 400 * MIB)
    slowly(backed_up)
    running = backed_up.started("backup")
    eventually(lambda: stores(backed_up), within=60, what="restic writing new data")

    beside = backed_up.orthanc_command("backup", status=2)
    running.kill()
    running.communicate(timeout=60)
    big_file(backed_up, "big", 0)
    backed_up.configure()

    assert "another backup, verification or restore runs on this host" in beside["error"]["message"]
    eventually(lambda: "error" not in backed_up.orthanc_command("backup", status=None), within=90, what="a backup")
    assert backed_up.orthanc_command("backup", "verify")["problems"] == []


def test_postgresql_that_is_gone_is_said_and_the_backups_are_listed_all_the_same(backed_up: BackedUpSite) -> None:
    made = backed_up.orthanc_command("backup")
    backed_up.orthanc.stop()
    backed_up.postgres.stop()

    refused = backed_up.orthanc_command("backup", status=2)
    listed = backed_up.orthanc_command("backup", "list")

    assert "PostgreSQL does not let its superuser into" in refused["error"]["message"]
    assert [each["id"] for each in listed["backups"]] == [made["id"]]


def test_a_storage_that_is_not_mounted_is_not_backed_up_as_empty(backed_up: BackedUpSite) -> None:
    backed_up.configure(storage=str(backed_up.folder / "not-mounted"))

    refused = backed_up.orthanc_command("backup", status=2)

    assert "is its disk mounted?" in refused["error"]["hint"]


def test_only_what_is_no_longer_to_be_kept_is_dropped(backed_up: BackedUpSite) -> None:
    """Two backups of long ago on one day: the later is kept for its day. Others' snapshots are left alone."""
    parts = ["--tag", "pacsops", "--tag", "parts:database+files+routes", "--tag", "of:database+files+routes"]
    backed_up.orthanc_command("backup")
    some = backed_up.settings.routes_file
    for tags, at in (
        (["--tag", "id:early", *parts], "01:00"),
        (["--tag", "id:late", *parts], "02:00"),
        ([], "03:00"),
    ):
        backed_up.restic("backup", *tags, "--time", f"2026-01-05 {at}:00", str(some))

    backed_up.orthanc_command("backup")

    listed = [each["id"] for each in backed_up.orthanc_command("backup", "list")["backups"]]
    assert len(listed) == 3
    assert "late" in listed
    assert "early" not in listed
    assert backed_up.restic("snapshots", "--json").stdout.count('"time"') == 4


def test_an_image_that_changed_in_the_storage_is_read_again_and_the_others_are_not(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT", instances=3).in_(backed_up.orthanc)
    backed_up.orthanc_command("backup")
    inventory = (backed_up.work / "files.tsv").read_text()
    # Were they read again, their digests would be others than these.
    (backed_up.work / "files.tsv").write_text("".join(f"{'0' * 64}{line[64:]}\n" for line in inventory.splitlines()))
    a_study().with_series("CT").in_(backed_up.orthanc)

    backed_up.orthanc_command("backup")

    digests = [line.split("\t")[0] for line in (backed_up.work / "files.tsv").read_text().splitlines()]
    known = digests.count("0" * 64)
    assert known == len(inventory.splitlines())
    assert len(digests) > known


def stores(site: BackedUpSite) -> bool:
    """Whether a restic of the site has begun to write the images: its repository has grown by some."""
    return sum(path.stat().st_size for path in site.repository.glob("data/*/*")) > 10 * MIB
