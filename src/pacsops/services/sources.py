"""Where the runtimes keep what services say: supervisor's files, the journal, Docker's logs.

A source gives first what there is, the newest line first, so that whoever wants the last fifty reads no more than
those; and then what comes after it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from pacsops.errors import NeedsRoot, RuntimeRefused
from pacsops.services.entries import Level, Line
from pacsops.services.host import Host, Service
from pacsops.services.program import Output, Said, refusal

_POLL_SECONDS = 0.25
_BLOCK = 64 * 1024
_AGAIN_SECONDS = 1.0
_ERASE_LINE = "\x1b[2K"
"""What Docker Compose 2.25 and 2.26 put before each line, piped or not. https://github.com/docker/compose/issues/11727"""


class Source(Protocol):
    """The log of one or several services. Both methods raise NeedsRoot or RuntimeRefused."""

    def newest_first(self, since: datetime | None, most: int | None) -> Iterator[Line]:
        """What there is, from `since` on; `most`: nobody will ask for more lines of one service."""
        ...

    def following(self) -> Iterator[Line]:
        """What comes after that; waits for it until `stop`."""
        ...

    def stop(self) -> None:
        """End `following`, from whichever thread."""
        ...


def sources_of(host: Host, services: Sequence[Service]) -> list[Source]:
    """The logs of these services, as the host's runtime keeps them."""
    match host.runtime:
        case "systemd":
            return [Journal(host, services)]
        case "compose":
            return [ContainerLog(host, service) for service in services]
        case "supervisor":
            return [LogFile(host, service) for service in services if service.log_file is not None]


class LogFile:
    """A file that supervisor writes and rotates: name, name.1, name.2, …"""

    def __init__(self, host: Host, service: Service) -> None:
        assert service.log_file is not None
        self._host = host
        self._service = service
        self._path = service.log_file
        self._end: tuple[int, int] | None = None
        """Inode and length when it was read."""
        self._stopped = threading.Event()

    def newest_first(self, since: datetime | None, most: int | None) -> Iterator[Line]:
        """`most` is not looked at: reading backwards, nothing is read that nobody asks for."""
        for path in self._files(since):
            with self._open(path) as file:
                found = os.fstat(file.fileno())
                if path == self._path:
                    self._end = (found.st_ino, _last_line_end(file, found.st_size))
                    end = self._end[1]
                else:
                    end = found.st_size
                for text in _lines_backwards(file, end):
                    yield Line(self._service.name, text)

    def following(self) -> Iterator[Line]:
        file: BinaryIO | None = None
        inode, at = self._end or (0, 0)
        rest = b""
        try:
            while not self._stopped.is_set():
                if file is None and self._path.exists():
                    file = self._open(self._path)
                    # The file that was read before is gone on with; another one is read from its beginning.
                    file.seek(at if os.fstat(file.fileno()).st_ino == inode else 0)
                block = file.read(_BLOCK) if file is not None else b""
                if block:
                    *lines, rest = (rest + block).split(b"\n")
                    yield from (Line(self._service.name, line.decode("utf-8", "replace")) for line in lines)
                    continue
                if file is not None and self._replaced(file):
                    file.close()
                    file, inode, at, rest = None, 0, 0, b""
                    continue
                self._stopped.wait(_POLL_SECONDS)
        finally:
            if file is not None:
                file.close()

    def stop(self) -> None:
        self._stopped.set()

    def _files(self, since: datetime | None) -> Iterator[Path]:
        """The newest first, those that were last written to before `since` left out."""
        number = 0
        path = self._path
        while path.exists():
            if since is None or path.stat().st_mtime >= since.timestamp():
                yield path
            number += 1
            path = self._path.with_name(f"{self._path.name}.{number}")

    def _open(self, path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except PermissionError as error:
            raise refusal([str(path)], Said(1, "", f"{path}: {error.strerror}"), self._host.command) from error
        except OSError as error:
            raise RuntimeRefused(f"cannot read {path}: {error.strerror}", hint=f"ls -l {path.parent}") from error

    def _replaced(self, file: BinaryIO) -> bool:
        """Whether supervisor has put the file aside, or somebody has emptied it."""
        ours = os.fstat(file.fileno())
        try:
            theirs = self._path.stat()
        except FileNotFoundError:
            return True
        return theirs.st_ino != ours.st_ino or theirs.st_size < file.tell()


def _last_line_end(file: BinaryIO, size: int) -> int:
    """Up to where there are whole lines: a line that is being written is for later."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _lines_backwards(file: BinaryIO, end: int) -> Iterator[str]:
    """The lines before `end`, the last one first, reading block by block."""
    rest = b""
    first = True
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        rest, *lines = (file.read(end - start) + rest).split(b"\n")
        if first and lines and not lines[-1]:
            lines.pop()  # what follows the last newline
        first = False
        for line in reversed(lines):
            yield line.decode("utf-8", "replace")
        end = start
    if rest:
        yield rest.decode("utf-8", "replace")


class Journal:
    """The journal of several units. journalctl(1), systemd.journal-fields(7)"""

    def __init__(self, host: Host, services: Sequence[Service]) -> None:
        self._host = host
        self._names = {service.unit: service.name for service in services}
        self._cursor: str | None = None
        self._began = datetime.now(UTC)
        self._output: Output | None = None

    def argv(self, *words: str) -> list[str]:
        """The command: one JSON object a line, of these units."""
        units = [f"--unit={unit}" for unit in self._names]
        return ["journalctl", "--output=json", "--no-pager", "--all", *units, *words]

    def newest_first(self, since: datetime | None, most: int | None) -> Iterator[Line]:
        words = ["--reverse"]
        if since is not None:
            words.append(f"--since=@{since.timestamp():.6f}")
        if most is not None:
            words.append(f"--lines={most}")
        yield from self._read(words)

    def following(self) -> Iterator[Line]:
        # Without a cursor there was nothing yet: then what came since this began.
        begin = f"--after-cursor={self._cursor}" if self._cursor else f"--since=@{self._began.timestamp():.6f}"
        yield from self._read(["--follow", "--lines=all", begin])

    def stop(self) -> None:
        if self._output is not None:
            self._output.stop()

    def _read(self, words: Sequence[str]) -> Iterator[Line]:
        self._output = Output(self.argv(*words), command=self._host.command)
        try:
            for text in self._output:
                try:
                    entry = json.loads(text)
                except ValueError:
                    continue  # journalctl says `-- Boot … --` and the like in between
                self._cursor = self._cursor or entry.get("__CURSOR")
                yield from self._lines(entry)
        except NeedsRoot as error:
            raise NeedsRoot(
                "the system's journal is not for this user to read",
                hint=f"{error.hint}; members of the group systemd-journal may, too",
            ) from error

    def _lines(self, entry: Mapping[str, object]) -> Iterator[Line]:
        # What systemd says of a unit is filed under UNIT, what the unit says itself under _SYSTEMD_UNIT.
        unit = str(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or "")
        at = datetime.fromtimestamp(int(str(entry["__REALTIME_TIMESTAMP"])) / 1_000_000, UTC)
        systemd = entry.get("SYSLOG_IDENTIFIER") == "systemd" and entry.get("UNIT") is not None
        # A service's own words come with the same priority whatever they say: its format tells better.
        level = _priority(entry.get("PRIORITY")) if systemd else None
        for text in reversed(_message(entry.get("MESSAGE")).splitlines()):
            yield Line(self._names.get(unit, unit), text, at, level, "systemd" if systemd else None)


def _message(value: object) -> str:
    """Text, or the octets of what is not UTF-8, or null for what was too long."""
    if isinstance(value, list):
        return bytes(value).decode("utf-8", "replace")
    return str(value) if value is not None else ""


def _priority(value: object) -> Level:
    """Of syslog(3): 0 to 3 are errors, 4 a warning, 7 debugging."""
    number = int(str(value)) if str(value).isdigit() else 6
    return "ERROR" if number <= 3 else "WARN" if number == 4 else "DEBUG" if number == 7 else "INFO"


class ContainerLog:
    """The log of one container. https://docs.docker.com/reference/cli/docker/compose/logs/"""

    def __init__(self, host: Host, service: Service) -> None:
        self._host = host
        self._service = service
        self._last: str | None = None
        """Docker's own time of the newest line, in nanoseconds."""
        self._began = datetime.now(UTC)
        self._stopped = threading.Event()
        self._output: Output | None = None

    def argv(self, *words: str) -> list[str]:
        """The command: each line after its time, without the container's name."""
        said = [*self._host.control, "logs", "--no-color", "--no-log-prefix", "--timestamps"]
        return [*said, *words, self._service.unit]

    def newest_first(self, since: datetime | None, most: int | None) -> Iterator[Line]:
        words = [f"--tail={'all' if most is None else most}"]
        if since is not None:
            words.append(f"--since={_stamp(since)}")
        # Docker knows no other direction. Its files are rotated at 50 MB.
        for text in reversed(list(self._read(words))):
            yield self._line(text)

    def following(self) -> Iterator[Line]:
        while not self._stopped.is_set():
            since = _next_nanosecond(self._last) if self._last else _stamp(self._began)
            for text in self._read(["--follow", "--tail=all", f"--since={since}"]):
                yield self._line(text)
            # It ended because the container did: there may be another one in a moment.
            self._stopped.wait(_AGAIN_SECONDS)

    def stop(self) -> None:
        self._stopped.set()
        if self._output is not None:
            self._output.stop()

    def _read(self, words: Sequence[str]) -> Iterator[str]:
        self._output = Output(self.argv(*words), command=self._host.command)
        for said in self._output:
            text = said.removeprefix(_ERASE_LINE)
            stamp = text.partition(" ")[0]
            if _is_stamp(stamp):
                self._last = stamp
            yield text

    def _line(self, text: str) -> Line:
        stamp, _, rest = text.partition(" ")
        if not _is_stamp(stamp):
            return Line(self._service.name, text)
        # Python's clock knows microseconds.
        whole, _, fraction = stamp.removesuffix("Z").partition(".")
        at = datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")
        return Line(self._service.name, rest, at)


def _is_stamp(text: str) -> bool:
    return len(text) > 20 and text[4] == "-" and text[10] == "T" and text.endswith("Z")


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _next_nanosecond(stamp: str) -> str:
    """`--since` includes the moment it names."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    nanoseconds = int(f"{fraction:0<9}"[:9]) + 1
    if nanoseconds == 1_000_000_000:
        second = datetime.fromisoformat(f"{whole}+00:00") + timedelta(seconds=1)
        return second.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{whole}.{nanoseconds:09d}Z"
