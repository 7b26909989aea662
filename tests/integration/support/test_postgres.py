"""The private PostgreSQL and the script that lets root run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from tests.support.postgres import UNPRIVILEGED, PostgresServer

from pacsops.database import Database
from pacsops.database.migrate import pending

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer(fsync=True) as server:
        yield server


def test_what_was_committed_survives_a_power_cut(server: PostgresServer) -> None:
    database = Database(server.create_database())
    with database.transaction() as tx:
        tx.run("CREATE TABLE kept AS SELECT 42 AS answer")
    database.close()

    server.restart("immediate")

    with database.transaction() as tx:
        assert tx.one("SELECT answer FROM kept") == {"answer": 42}
    database.close()


def test_every_test_gets_a_migrated_database_of_its_own(database: Database) -> None:
    assert pending(database) == []
    with database.transaction() as tx:
        assert tx.one("SELECT count(*) AS studies FROM routing_study") == {"studies": 0}
        assert tx.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == {"rolsuper": False}


def test_a_dropped_database_is_gone(server: PostgresServer) -> None:
    settings = server.create_database("short_lived")
    server.drop_database("short_lived")

    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(host=server.host, port=server.port, user=settings.postgres_user, dbname="short_lived")


def unprivileged(folder: Path, *command: str, path: str | None = None) -> str:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [str(UNPRIVILEGED), str(folder), *command], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@root_only
def test_root_becomes_nobody_and_keeps_its_files(tmp_path: Path) -> None:
    assert unprivileged(tmp_path, "id", "-u") == "65534"
    unprivileged(tmp_path, "touch", str(tmp_path / "file"))
    assert (tmp_path / "file").stat().st_uid in {0, 65534}  # 65534: no namespaces here


@pytest.fixture
def no_namespaces(tmp_path: Path) -> str:
    """A PATH on which `unshare` is not allowed to do anything, as in many containers."""
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@root_only
def test_root_without_namespaces_gives_the_folder_away(no_namespaces: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="pacsops-given-away-"))
    try:
        assert unprivileged(folder, "id", "-u", path=no_namespaces) == "65534"
        assert folder.stat().st_uid == 65534
    finally:
        shutil.rmtree(folder)


@root_only
def test_a_folder_nobody_can_enter_is_said_to_be_so(no_namespaces: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    with pytest.raises(subprocess.CalledProcessError) as caught:
        unprivileged(tmp_path / "inner", "id", "-u", path=no_namespaces)

    assert f"nobody cannot enter {tmp_path / 'inner'}" in caught.value.stderr
