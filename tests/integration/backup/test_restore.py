"""A host that burned down, and what comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.backup import BackedUpSite
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.postgres import PostgresServer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery.model import Status
from pacsops.settings import Settings

pytestmark = pytest.mark.timeout(240)


@contextmanager
def stopped(site: BackedUpSite) -> Iterator[None]:
    """Orthanc stopped for the block, as an operator does for a restore."""
    site.orthanc.stop()
    try:
        yield
    finally:
        site.orthanc.ensure_running()


def test_every_image_and_every_pending_delivery_comes_back_after_a_fire(
    settings: Settings, indexed_orthanc: OrthancServer, postgres: PostgresServer
) -> None:
    indexed_orthanc.ensure_running()
    indexed_orthanc.clear()
    study = a_study().with_series("CT", instances=4)
    with Peer() as peer, RoutedSite(indexed_orthanc.settings(of=settings), indexed_orthanc) as routed:
        routed.destination(peer, "PACS")
        routed.routes(a_route("everything", "PACS", retry={"max_attempts": 9, "initial_delay": 600}))
        peer.stop()
        routed.start()
        study.in_(indexed_orthanc)
        routed.wait_for(Status.FAILED)
        with BackedUpSite(routed.settings, indexed_orthanc, postgres) as site:
            before = site.digests()
            made = site.orthanc_command("backup")
            routed.stop()
            routed.database.close()
            with stopped(site):
                site.destroy()
                restored = site.orthanc_command("restore", "latest", "--yes")
            peer.start()
            routed.start()

            assert restored["backup_id"] == made["id"]
            assert restored["restored_rows"] == made["rows"]
            assert restored["rows_without_file"] == restored["files_without_row"] == 0
            assert len(before) == 4
            assert site.digests() == before
            site.execute("UPDATE destination_health SET next_probe_at = now() WHERE breaker = 'open'")
            site.execute("UPDATE routing_state SET next_retry_at = now() WHERE status = 'failed'")
            routed.wait_for(Status.SUCCESS)
            assert set(peer.uids) == set(study.uids)
            runs = site.orthanc_command("backup", "status", status=1)["runs"]
            assert [(run["kind"], run["ok"]) for run in runs] == [("restore", True), ("backup", True)]


def test_images_that_were_lost_before_the_restore_are_named(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT", instances=3).in_(backed_up.orthanc)
    [lost, *_] = (path for path in backed_up.orthanc.storage.rglob("*-*") if path.is_file())
    lost.unlink()

    made = backed_up.orthanc_command("backup", status=1)
    proved = backed_up.orthanc_command("backup", "verify", status=2)
    with stopped(backed_up):
        backed_up.destroy()
        restored = backed_up.orthanc_command("restore", made["id"], "--yes", status=2)

    assert "orthanc backup verify" in made["warnings"][0]
    assert proved["rows_without_file"] == restored["rows_without_file"] == 1
    assert restored["examples"] == [lost.name]


def test_an_image_that_came_after_the_dump_is_a_warning_only(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT").in_(backed_up.orthanc)
    late = backed_up.orthanc.storage / "ab" / "cd" / "abcd0000-0000-0000-0000-000000000000"
    late.parent.mkdir(parents=True)
    late.write_bytes(b"late")

    made = backed_up.orthanc_command("backup")
    with stopped(backed_up):
        backed_up.destroy()
        restored = backed_up.orthanc_command("restore", made["id"], "--yes")

    assert (restored["rows_without_file"], restored["files_without_row"]) == (0, 1)
    assert late.read_bytes() == b"late"


def test_a_host_with_images_is_refused_and_laid_aside_only_when_told(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT", instances=2).in_(backed_up.orthanc)
    before = backed_up.digests()
    made = backed_up.orthanc_command("backup")
    backed_up.settings.routes_file.write_text("routes: []  # edited since\n")
    a_study().with_series("MR").in_(backed_up.orthanc)
    with stopped(backed_up):
        files = {path: path.read_bytes() for path in backed_up.orthanc.storage.rglob("*") if path.is_file()}

        refused = backed_up.orthanc_command("restore", made["id"], "--yes", status=2)
        untouched = {path: path.read_bytes() for path in backed_up.orthanc.storage.rglob("*") if path.is_file()}
        restored = backed_up.orthanc_command("restore", made["id"], "--yes", "--replace")

    assert "this host is not empty" in refused["error"]["message"]
    assert untouched == files
    assert backed_up.digests() == before
    pacsops, index, storage, routes = restored["laid_aside"]
    assert len([path for path in Path(storage).rglob("*-*") if path.is_file()]) == len(
        [path for path in files if "-" in path.name]
    )
    assert {pacsops.split()[1], index.split()[1]} <= backed_up.databases()
    assert Path(routes).read_text() == "routes: []  # edited since\n"
    assert backed_up.settings.routes_file.read_text() == "routes: []\n"
    for name in (pacsops, index):
        backed_up.postgres.drop_database(name.split()[1])
    assert backed_up.orthanc_command("backup")["files"] == made["files"], "what was laid aside is not backed up"
    assert Path(storage).name not in backed_up.restic("ls", "latest").stdout


def test_a_site_that_runs_is_not_restored_into(backed_up: BackedUpSite) -> None:
    made = backed_up.orthanc_command("backup")

    refused = backed_up.orthanc_command("restore", made["id"], "--yes", status=2)

    assert "still running or connected: Orthanc" in refused["error"]["message"]
    assert refused["error"]["hint"] == "`supervisorctl stop orthanc router`"


def test_whoever_is_still_connected_is_named_and_one_who_leaves_is_waited_for(backed_up: BackedUpSite) -> None:
    made = backed_up.orthanc_command("backup")
    with stopped(backed_up):
        backed_up.destroy()
        with backed_up.postgres.superuser(backed_up.orthanc.index) as cursor:
            cursor.execute("SET application_name = 'a curious person'")
            refused = backed_up.orthanc_command("restore", made["id"], "--yes", status=2)
        with backed_up.postgres.superuser(backed_up.orthanc.index) as cursor:
            cursor.execute("SET idle_session_timeout = '2s'")
            backed_up.orthanc_command("restore", made["id"], "--yes")

    assert "still running or connected: a curious person" in refused["error"]["message"]


def test_nothing_is_restored_where_nobody_agreed(backed_up: BackedUpSite) -> None:
    made = backed_up.orthanc_command("backup")
    with stopped(backed_up):
        backed_up.destroy()

        refused = backed_up.run("restore", made["id"])

    assert refused.returncode == 2
    assert "say --yes" in refused.stderr
    assert not list(backed_up.orthanc.storage.glob("[0-9a-f]*"))


def test_a_restore_that_fails_leaves_the_host_as_it_was(backed_up: BackedUpSite) -> None:
    """The database holds what its owner may not make: the files have been fetched when that shows."""
    a_study().with_series("CT").in_(backed_up.orthanc)
    backed_up.execute("CREATE FUNCTION pid() RETURNS integer LANGUAGE internal AS 'pg_backend_pid'")
    made = backed_up.orthanc_command("backup")
    with stopped(backed_up):
        backed_up.destroy()
        before = backed_up.databases()

        failed = backed_up.orthanc_command("restore", made["id"], "--yes", status=2)

        assert "permission denied for language internal" in failed["error"]["message"]
        assert backed_up.databases() == before
        assert list(backed_up.orthanc.storage.iterdir()) == []


def test_a_backup_of_a_newer_version_is_refused(backed_up: BackedUpSite) -> None:
    backed_up.execute("INSERT INTO schema_migration (name) VALUES ('9999_of_the_future')")
    made = backed_up.orthanc_command("backup")

    for command in (("restore", made["id"], "--yes"), ("backup", "verify")):
        refused = backed_up.orthanc_command(*command, status=2)
        assert "made by a newer version" in refused["error"]["message"]
        assert "9999_of_the_future" in refused["error"]["message"]


def test_half_a_backup_is_listed_as_such_and_not_restored(backed_up: BackedUpSite) -> None:
    backed_up.configure(parts=["database"], storage=None, routes=None)
    half = backed_up.orthanc_command("backup")

    [listed] = backed_up.orthanc_command("backup", "list")["backups"]
    refused = backed_up.orthanc_command("restore", half["id"], "--yes", status=2)
    nothing = backed_up.orthanc_command("backup", "verify", status=2)

    assert listed["missing"] == ["files", "routes"]
    assert "is half a backup: it lacks files, routes" in refused["error"]["message"]
    assert nothing["error"]["message"] == "there is no whole backup yet"


def test_the_parts_of_two_hosts_are_one_backup(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT", instances=2).in_(backed_up.orthanc)
    before = backed_up.digests()
    database_host = {"parts": ["database"], "storage": None, "routes": None, "work": str(backed_up.folder / "work1")}
    orthanc_host = {"parts": ["files", "routes"], "database": None, "work": str(backed_up.folder / "work2")}

    backed_up.configure(**database_host)
    backed_up.orthanc_command("backup", "--id", "both")
    backed_up.configure(**orthanc_host)
    made = backed_up.orthanc_command("backup", "--id", "both")

    proved_there = backed_up.orthanc_command("backup", "verify")
    backed_up.configure(**database_host)
    proved_here = backed_up.orthanc_command("backup", "verify")
    with stopped(backed_up):
        backed_up.destroy()
        backed_up.configure(**orthanc_host)
        files = backed_up.orthanc_command("restore", "both", "--yes")
        backed_up.configure(**database_host)
        rows = backed_up.orthanc_command("restore", "both", "--yes")

    assert (proved_there["restored_rows"], proved_there["hashed_instances"]) == (None, 2)
    assert proved_here["restored_rows"] > 0
    assert proved_here["md5_instances"] == 2
    assert files["restored_files"] == made["files"]
    assert rows["rows_without_file"] == 0
    assert backed_up.digests() == before


def test_a_backup_whose_dump_is_damaged_is_not_restored(backed_up: BackedUpSite) -> None:
    """Stored again under the same tags, with a manifest that is not the one of the tags."""
    made = backed_up.orthanc_command("backup")
    [snapshot] = json.loads(backed_up.restic("snapshots", "--json").stdout)
    restored = backed_up.folder / "again"
    backed_up.restic("restore", snapshot["id"], "--target", str(restored))
    shutil.copytree(restored / str(backed_up.work).lstrip("/"), backed_up.work, dirs_exist_ok=True)
    manifest = backed_up.work / "pacsops-staging" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"host"', '"hosts"'))
    tags = [word for tag in snapshot["tags"] for word in ("--tag", tag)]
    assert backed_up.restic("backup", *tags, str(manifest.parent)).returncode == 0

    refused = backed_up.orthanc_command("backup", "verify", made["id"], status=2)

    assert "half a backup: its manifest is not the one it was made with" in refused["error"]["message"]
