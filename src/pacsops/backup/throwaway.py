"""A PostgreSQL of its own for one verification: made in a new folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pacsops.backup.children import Child, Children
from pacsops.backup.postgres import Server
from pacsops.backup.programs import Programs
from pacsops.errors import BackupFailed, BackupRefused

_PATIENCE_SECONDS = 120.0
_QUIET = ("fsync=off", "full_page_writes=off", "max_wal_size=4GB", "maintenance_work_mem=128MB", "listen_addresses=")


@contextmanager
def throwaway_server(programs: Programs, folder: Path, children: Children) -> Iterator[Server]:
    """A running server that nobody else reaches, in the new folder `folder`.

    Raises:
        BackupFailed: the cluster cannot be made or does not start.
    """
    folder.mkdir(mode=0o711)
    # Not in `folder`: a socket's path may have 107 characters.
    socket = Path(tempfile.mkdtemp(prefix="pacsops-verify-"))
    try:
        if programs.bin is None:
            for path in (folder, socket):
                os.chown(path, int(programs.part.account), int(programs.part.account))
        elif programs.part.unprivileged is not None:
            _hand_over(programs.part.unprivileged, socket, children)
        options = [f"unix_socket_directories={socket}", "unix_socket_permissions=0700", *_QUIET]
        *before, serve = programs.throwaway_server(
            folder, socket, [word for option in options for word in ("-c", option)]
        )
        for command in before:
            status, _, said = children.run(command)
            if status != 0:
                raise BackupFailed(
                    f"the throwaway cluster could not be made: {said}", hint=f"is there room in {folder.parent}?"
                )
        with children.running(serve) as child:
            server = Server(str(socket), 5432, children)
            _wait_for(server, child)
            restore = programs.beside_the_throwaway("pg_restore", folder, socket)
            yield replace(server, restore_program=restore)
    finally:
        shutil.rmtree(socket, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _hand_over(unprivileged: Path, folder: Path, children: Children) -> None:
    """Let `unprivileged` give the folder to whom it runs programs as, where it has to."""
    status, _, said = children.run([str(unprivileged), str(folder), "true"])
    if status != 0:
        raise BackupFailed(f"nobody can be made the owner of {folder}: {said}")


def _wait_for(server: Server, child: Child) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with server.session():
                return
        except BackupRefused as error:
            if not child.running or time.monotonic() > deadline:
                raise BackupFailed(f"the throwaway cluster does not start: {child.said or error}") from error
        time.sleep(0.1)
