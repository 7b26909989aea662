"""The restic repository: snapshots made, listed, read back, restored, forgotten.

Source: https://restic.readthedocs.io (scripting); works with 0.14, Debian 12's, whose exit status is 1 for every
failure and 3 for a snapshot that lacks files which could not be read.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pacsops.backup.children import Children
from pacsops.backup.configuration import BackupConfiguration
from pacsops.backup.progress import Progress
from pacsops.errors import BackupFailed, BackupRefused, PacsopsError

MARK = "pacsops"
"""The tag of every snapshot of ours: others in the same repository are not touched."""

RECENT = "2d"
"""All backups of the last two days are kept: one made by hand does not replace last night's."""

_IDENTITY = "repository.id"
_UNREADABLE = 3
_ABSENT = re.compile(r"unable to open config file.*(no such file|not exist|not found)", re.I | re.S)
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.I)
_LOCKED = re.compile(r"already locked", re.I)
_PATTERN_SIGN = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot: what one host put into the repository in one go."""

    id: str
    at: datetime
    host: str
    paths: tuple[str, ...]
    tags: Mapping[str, str]
    """By the word before the colon: `id:2026…` is {"id": "2026…"}."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What `restic backup` did."""

    snapshot: str
    added_bytes: int
    unreadable: tuple[str, ...]
    """Files that could not be read, with the reason."""


class Repository:
    """One repository, with the password of one site.

    Raises, from every method: BackupRefused when the repository cannot be opened (absent, wrong password,
    unreachable), BackupFailed when it can and restic fails.
    """

    def __init__(self, configuration: BackupConfiguration, children: Children | None = None) -> None:
        self._configuration = configuration
        self._children = children or Children()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RESTIC_")}
        self._environment = {
            **inherited,
            "RESTIC_REPOSITORY": configuration.repository,
            "RESTIC_PASSWORD_FILE": str(configuration.password_file),
            "RESTIC_CACHE_DIR": str(configuration.work / "cache"),
            "RESTIC_PROGRESS_FPS": "2",
            **configuration.environment,
        }

    def there(self) -> bool:
        """Whether it is there; False before the first backup.

        Raises:
            BackupRefused: the one that was there is gone, or another one stands in its place.
        """
        known = self._configuration.work / _IDENTITY
        before = known.read_text().strip() if known.exists() else None
        found = self._identity()
        if before is not None and found is None:
            raise BackupRefused(
                f"the backup repository {self._shown} is gone",
                hint="is its disk mounted? To begin a new one, at the price of the old backups: "
                f"rm {known}; orthanc backup",
            )
        if before is not None and found != before:
            raise BackupRefused(
                f"{self._shown} is another repository than the one of the last backup",
                hint=f"if that is meant: rm {known}; orthanc backup",
            )
        folder = self._configuration.repository_folder
        if found is None and folder is not None and not folder.parent.is_dir():
            raise BackupRefused(f"there is no folder {folder.parent} for the repository", hint="is its disk mounted?")
        return found is not None

    def make(self) -> None:
        """Make it unless it is there, and remember which one it is: none is made where there once was one."""
        if self._identity() is None:
            self._run("init", failing="the repository could not be made")
        (self._configuration.work / _IDENTITY).write_text(f"{self._identity()}\n")

    def snapshots(self) -> list[Snapshot]:
        """Ours, oldest first; none when there is no repository yet."""
        if self._identity() is None:
            return []
        answer = json.loads(self._run("snapshots", "--tag", MARK, failing="snapshots cannot be listed") or b"[]")
        return sorted((_snapshot(said) for said in answer or []), key=lambda snapshot: snapshot.at)

    def store(
        self, paths: Sequence[Path], tags: Iterable[str], progress: Progress, *, without: Iterable[str] = ()
    ) -> Stored:
        """Make a snapshot of `paths`, which is there as a whole or not at all; `without`: patterns of paths."""
        named = [word for tag in (MARK, *tags) for word in ("--tag", tag)]
        host = ["--host", socket.gethostname()]
        unreadable, summary = [], None
        excluded = [f"--exclude={pattern}" for pattern in without]
        with self._running("backup", *named, *host, *excluded, "--", *map(str, paths)) as child:
            for line in child.stdout:
                said = _object(line)
                if said.get("message_type") == "status":
                    progress("Storing", int(said.get("bytes_done", 0)), int(said.get("total_bytes", 0)))
                elif said.get("message_type") == "summary":
                    summary = said
            status = child.wait()
            words = child.said
        if status == _UNREADABLE:
            unreadable = [_reason(_object(line.encode())) or line for line in words.splitlines()]
        elif status != 0 or summary is None:
            raise self._failure("the snapshot was not made", words)
        assert summary is not None
        return Stored(str(summary["snapshot_id"]), int(summary.get("data_added", 0)), tuple(unreadable))

    def read(self, snapshot: str, path: str) -> bytes:
        """One file of a snapshot.

        Raises:
            BackupFailed: the snapshot lacks it.
        """
        return self._run("dump", snapshot, path, failing=f"snapshot {snapshot[:8]} lacks {path}")

    def restore(self, snapshot: str, paths: Sequence[str], target: Path) -> None:
        """`paths` of a snapshot below `target`, each under its whole former path."""
        included = [word for path in paths for word in ("--include", pattern(path))]
        self._run("restore", snapshot, "--target", str(target), *included, failing="the files could not be restored")

    def forget(self, parts: str) -> None:
        """Drop this host's snapshots of these parts that are no longer to be kept, and the data that no other needs.

        Locks that a killed restic left behind are removed first; those of a running one are not.
        """
        keep = self._configuration
        self._run("unlock", failing="old locks could not be removed")
        self._run(
            *("forget", "--prune", "--tag", f"{MARK},parts:{parts}", "--host", socket.gethostname()),
            *("--group-by", "host", "--keep-within", RECENT),
            *("--keep-daily", str(keep.keep_daily), "--keep-weekly", str(keep.keep_weekly)),
            *("--keep-monthly", str(keep.keep_monthly)),
            failing="old backups could not be removed",
        )

    @property
    def _shown(self) -> str:
        return self._configuration.repository_shown

    def _identity(self) -> str | None:
        """The repository's own identifier; None when there is none at that place."""
        status, answer, words = self._children.run(self._command("cat", "config"), environment=self._environment)
        if status == 0:
            return str(json.loads(answer)["id"])
        if _ABSENT.search(words):
            return None
        raise self._failure("it cannot be opened", words)

    def _command(self, *words: str) -> list[str]:
        return [self._configuration.restic, "--json", *words]

    def _running(self, *words: str) -> Any:
        return self._children.running(self._command(*words), environment=self._environment)

    def _run(self, *words: str, failing: str) -> bytes:
        status, answer, said = self._children.run(self._command(*words), environment=self._environment)
        if status != 0:
            raise self._failure(failing, said)
        return answer

    def _failure(self, what: str, words: str) -> PacsopsError:
        """restic's words as an error with a next step."""
        words = words.replace(self._configuration.repository, self._shown)
        if "wrong password" in words:
            return BackupRefused(
                f"the password in {self._configuration.password_file} does not open the repository {self._shown}",
                hint="the right one is kept with the site's secrets: backup_password, or secrets/backup beside the"
                " inventory",
            )
        if _FULL.search(words):
            return BackupFailed(
                f"{what}: the disk of the repository {self._shown} is full; earlier backups are whole",
                hint="make room there, then `orthanc backup`; it goes on from what was stored",
            )
        if _LOCKED.search(words):
            return BackupFailed(
                f"{what}: another host uses the repository {self._shown}", hint="the next backup does it"
            )
        last = [line for line in words.splitlines() if line.strip()][-3:]
        return BackupFailed(
            f"{what} (repository {self._shown}):\n" + "\n".join(last), hint="restic's words are above"
        )


def pattern(path: str) -> str:
    """A path as restic's patterns write it."""
    return _PATTERN_SIGN.sub(r"\\\1", path)


def _snapshot(said: Mapping[str, Any]) -> Snapshot:
    tags = dict(tag.split(":", 1) for tag in said.get("tags", ()) if ":" in tag)
    # restic writes nanoseconds, Python reads microseconds.
    at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", said["time"]))
    return Snapshot(said["id"], at, said.get("hostname", ""), tuple(said.get("paths", ())), tags)


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(said: Mapping[str, Any]) -> str:
    if said.get("message_type") != "error":
        return ""
    error = said.get("error")
    reason = error.get("Err") or error.get("message") if isinstance(error, dict) else error
    return f"{said.get('item', '?')}: {reason}"
