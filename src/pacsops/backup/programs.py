"""PostgreSQL's programs, as this host has them: Debian's, those of a folder, or those in the site's container."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacsops.backup.children import Children
from pacsops.backup.configuration import DatabasePart
from pacsops.database.provision import SUPERUSER
from pacsops.errors import BackupRefused

_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Programs:
    """How the words before a PostgreSQL program's arguments read: the program itself, or the container's."""

    part: DatabasePart
    bin: Path | None

    @classmethod
    def matching(cls, part: DatabasePart, version: int) -> Programs:
        """Those that can dump a server of this server_version_num: the configured ones, else Debian's.

        Raises:
            BackupRefused: every pg_dump here is older than the server.
        """
        if part.compose_folder is not None:
            return cls(part, None)  # the container's own: the server's very version
        major = version // 10000
        candidates = [part.bin] if part.bin else []
        candidates += [_DEBIAN / str(newer) / "bin" for newer in range(major, major + 10)]
        for folder in candidates:
            if _major(folder / "pg_dump") >= major:
                return cls(part, folder)
        raise BackupRefused(
            f"there is no pg_dump of PostgreSQL {major} or newer on this host",
            hint=f"apt-get install postgresql-client-{major}",
        )

    def beside_the_server(self, program: str) -> list[str]:
        """The program where the site's server runs, to talk to that server."""
        if self.bin is not None:
            return [str(self.bin / program)]
        compose = ["docker", "compose", "--project-directory", str(self.part.compose_folder)]
        return [*compose, "exec", "--no-TTY", "postgres", program]

    def throwaway_server(self, folder: Path, socket: Path, options: Sequence[str]) -> list[list[str]]:
        """The commands that make a cluster in `folder` and, as the last one, serve it until SIGINT."""
        if self.bin is None:
            # The image makes its cluster in PGDATA when it is not there.
            made = ["--env", f"PGDATA={folder}/data", "--env", "POSTGRES_HOST_AUTH_METHOD=trust"]
            return [[*self._container(folder, socket, *made), self.part.image, "postgres", *options]]
        # Its files must be somebody else's than root's.
        as_somebody = [str(self.part.unprivileged), str(folder)] if self.part.unprivileged else []
        make = [str(self.bin / "initdb"), "--pgdata", f"{folder}/data", "--username", SUPERUSER, "--auth=trust"]
        make += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        return [[*as_somebody, *make], [*as_somebody, str(self.bin / "postgres"), "-D", f"{folder}/data", *options]]

    def beside_the_throwaway(self, program: str, folder: Path, socket: Path) -> list[str]:
        """The program where it reaches the throwaway server."""
        if self.bin is not None:
            return [str(self.bin / program)]
        return [*self._container(folder, socket), self.part.image, program]

    def _container(self, folder: Path, socket: Path, *more: str) -> list[str]:
        who = f"{self.part.account}:{self.part.account}"
        seen = [word for path in (folder, socket) for word in ("--volume", f"{path}:{path}")]
        return ["docker", "run", "--rm", "--interactive", "--network=none", f"--user={who}", *seen, *more]


def _major(pg_dump: Path) -> int:
    """0 when there is none. By the version it prints: `pg_dump (PostgreSQL) 15.18 (Debian …)`."""
    if not pg_dump.is_file():
        return 0
    _, said, _ = Children().run([str(pg_dump), "--version"])
    found = re.search(rb"\) (\d+)", said)
    return int(found[1]) if found else 0
