"""How PostgreSQL's programs are called where the site's PostgreSQL is in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsops.backup.configuration import DatabasePart
from pacsops.backup.programs import Programs
from pacsops.errors import BackupRefused

FOLDER, SOCKET = Path("/opt/orthanc/backups/verify/postgres"), Path("/tmp/pacsops-verify-x")


def part(*, contained: bool, bin: Path | None = None) -> DatabasePart:
    return DatabasePart(
        host="/opt/orthanc/run/postgres",
        port=5432,
        pacsops="pacsops",
        orthanc="orthanc",
        bin=bin,
        unprivileged=Path("/opt/orthanc/bin/unprivileged"),
        compose_folder=Path("/opt/orthanc") if contained else None,
        image="pacsops/postgres:0.1.0" if contained else "",
        account="58432" if contained else "",
    )


def test_a_container_is_dumped_by_the_programs_it_has() -> None:
    programs = Programs.matching(part(contained=True), 170002)

    command = programs.beside_the_server("pg_dump")

    assert " ".join(command) == "docker compose --project-directory /opt/orthanc exec --no-TTY postgres pg_dump"


def test_a_throwaway_server_of_a_containers_image_has_no_network_and_sees_two_folders() -> None:
    programs = Programs.matching(part(contained=True), 170002)

    [serve] = programs.throwaway_server(FOLDER, SOCKET, ["-c", "fsync=off"])
    restore = programs.beside_the_throwaway("pg_restore", FOLDER, SOCKET)

    inside = f"docker run --rm --interactive --network=none --user=58432:58432 --volume {FOLDER}:{FOLDER}"
    inside += f" --volume {SOCKET}:{SOCKET}"
    making = f"--env PGDATA={FOLDER}/data --env POSTGRES_HOST_AUTH_METHOD=trust"
    assert " ".join(serve) == f"{inside} {making} pacsops/postgres:0.1.0 postgres -c fsync=off"
    assert " ".join(restore) == f"{inside} pacsops/postgres:0.1.0 pg_restore"


def test_a_pg_dump_older_than_its_server_is_not_used(tmp_path: Path) -> None:
    """It would refuse, and half way through the backup."""
    old = tmp_path / "pg_dump"
    old.write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 13.9 (Debian 13.9-1)"\n')
    old.chmod(0o755)

    assert Programs.matching(part(contained=False, bin=tmp_path), 130009).bin == tmp_path
    with pytest.raises(BackupRefused, match="no pg_dump of PostgreSQL 97 or newer") as caught:
        Programs.matching(part(contained=False, bin=tmp_path), 970000)
    assert caught.value.hint == "apt-get install postgresql-client-97"


def test_initdb_runs_as_somebody_who_is_not_root() -> None:
    programs = Programs(
        part(contained=False, bin=Path("/usr/lib/postgresql/15/bin")), Path("/usr/lib/postgresql/15/bin")
    )

    for command in programs.throwaway_server(FOLDER, SOCKET, []):
        assert command[:2] == ["/opt/orthanc/bin/unprivileged", str(FOLDER)]
