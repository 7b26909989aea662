"""Reading what runtimes keep: files that are rotated, the journal, Docker's logs."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.network import eventually
from tests.support.services import Programs, a_host, a_service

from pacsops.errors import NeedsRoot, RuntimeRefused
from pacsops.services.entries import Entry
from pacsops.services.reading import LogReader
from pacsops.services.sources import ContainerLog, Journal

EPOCH = "2026-02-03T10:00:"


def line(second: int, event: str = "study_received", level: str = "INFO") -> str:
    return f"{EPOCH}{second:02}.000Z {level} [routing] {event} study_id=s{second}\n"


class Followed:
    """What `following` yields, gathered by a thread."""

    def __init__(self, reader: LogReader) -> None:
        self.lines: list[str] = []
        self._coming = reader.following(None)
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._ended = threading.Event()
        self._thread.start()

    def _gather(self) -> None:
        for entry in self._coming:
            self.lines.append(entry.line)
            if self._ended.is_set():
                return

    def has(self, text: str) -> None:
        eventually(lambda: any(text in line for line in self.lines), within=10, what=f"{text} being followed")


def reader_of(*files: Path) -> LogReader:
    services = [a_service(file.stem, log="logfmt", log_file=str(file)) for file in files]
    host = a_host("supervisor", *services)
    return LogReader(host, host.named(()))


def lines(entries: list[Entry]) -> list[str]:
    return [entry.fields.get("study_id", entry.line) for entry in entries]


def test_the_newest_lines_come_from_rotated_files_too(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text(line(5) + line(6))
    (tmp_path / "router.log.1").write_text(line(3) + line(4))
    (tmp_path / "router.log.2").write_text(line(1) + line(2))

    assert lines(reader_of(log).recent(since=None, most=5, wanted=None)) == ["s2", "s3", "s4", "s5", "s6"]


def test_lines_longer_than_a_block_and_without_an_end_are_read(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text(line(1) + line(2).rstrip("\n") + " error=" + "x" * 200_000 + "\n" + line(3) + "half a li")

    found = reader_of(log).recent(since=None, most=10, wanted=None)

    assert lines(found) == ["s1", "s2", "s3"]
    assert len(found[1].line) > 200_000


def test_services_are_merged_by_time_and_only_what_is_wanted_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_text(line(1, level="ERROR") + line(3) + line(5, level="ERROR"))
    second.write_text(line(2, level="ERROR") + line(4, level="ERROR") + line(6))
    reader = reader_of(first, second)

    errors = reader.recent(since=None, most=3, wanted=lambda entry: entry.level == "ERROR")

    assert lines(errors) == ["s2", "s4", "s5"]


def test_since_leaves_out_what_was_said_before(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text("".join(map(line, range(10))))
    since = datetime.fromisoformat(f"{EPOCH}07+00:00")

    assert lines(reader_of(log).recent(since=since, most=99, wanted=None)) == ["s7", "s8", "s9"]


def test_a_continuation_has_the_level_and_time_of_its_line(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text(line(1, level="ERROR") + "  more of it\n" + line(2))

    found = reader_of(log).recent(since=None, most=9, wanted=lambda entry: entry.level == "ERROR")

    assert [entry.line for entry in found] == [line(1, level="ERROR").rstrip(), "  more of it"]
    assert found[0].at == found[1].at


def test_following_goes_on_where_reading_ended_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text(line(1))
    reader = reader_of(log)
    assert lines(reader.recent(since=None, most=9, wanted=None)) == ["s1"]
    with log.open("a") as file:
        file.write(line(2))  # between reading and following
    followed = Followed(reader)
    followed.has("s2")
    log.rename(tmp_path / "router.log.1")
    log.write_text(line(3))
    followed.has("s3")
    with log.open("a") as file:
        file.write(line(4)[:30])
        file.flush()
        file.write(line(4)[30:])
    followed.has("s4")

    assert [text[-2:] for text in followed.lines] == ["s2", "s3", "s4"]


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    reader = reader_of(log)
    assert reader.recent(since=None, most=9, wanted=None) == []
    followed = Followed(reader)
    log.write_text(line(1))

    followed.has("s1")


# ── programs of a runtime that is not here: what they printed where it was ───────────────────────────────────


# journalctl of systemd 252, shortened: what Orthanc said, in UTF-8 and not; and what systemd said of its unit.
JOURNAL = [
    {
        "__CURSOR": "s=2b4b;i=801",
        "__REALTIME_TIMESTAMP": "1795253714000000",
        "UNIT": "pacsops-orthanc.service",
        "_SYSTEMD_UNIT": "init.scope",
        "SYSLOG_IDENTIFIER": "systemd",
        "PRIORITY": "4",
        "MESSAGE": "pacsops-orthanc.service: Main process exited, code=killed, status=9/KILL",
    },
    {
        "__CURSOR": "s=2b4b;i=7ff",
        "__REALTIME_TIMESTAMP": "1795253713087314",
        "_SYSTEMD_UNIT": "pacsops-orthanc.service",
        "SYSLOG_IDENTIFIER": "Orthanc",
        "PRIORITY": "6",
        "MESSAGE": list("E1121 09:18:34.387545 main.cpp:1314] café ".encode() + b"\xff"),
    },
    {
        "__CURSOR": "s=2b4b;i=7fe",
        "__REALTIME_TIMESTAMP": "1795253713082581",
        "_SYSTEMD_UNIT": "pacsops-orthanc.service",
        "SYSLOG_IDENTIFIER": "Orthanc",
        "PRIORITY": "6",
        "MESSAGE": "W1121 09:18:33.387545 main.cpp:1314] DICOM server listening",
    },
]
UNITS = a_host("systemd", a_service("orthanc", unit="pacsops-orthanc.service", log="orthanc"))


def test_the_journal_is_asked_for_these_units_and_read_backwards(programs: Programs) -> None:
    programs.add("journalctl", prints="".join(json.dumps(entry) + "\n" for entry in JOURNAL))
    since = datetime(2026, 2, 3, tzinfo=UTC)

    found = LogReader(UNITS, UNITS.named(())).recent(since=since, most=10, wanted=None)

    assert programs.calls("journalctl") == [
        "--output=json --no-pager --all --unit=pacsops-orthanc.service"
        f" --reverse --since=@{since.timestamp():.6f} --lines=10"
    ]
    assert [(entry.service, entry.level) for entry in found] == [
        ("orthanc", "WARN"),
        ("orthanc", "ERROR"),
        ("orthanc", "WARN"),
    ]
    assert "café" in found[1].message
    assert found[0].at == datetime.fromtimestamp(1795253713.082581, UTC)
    assert found[2].component == "systemd"


def test_the_journal_is_followed_from_the_newest_line_read(programs: Programs) -> None:
    programs.add("journalctl", prints="".join(json.dumps(entry) + "\n" for entry in JOURNAL))
    journal = Journal(UNITS, UNITS.named(()))
    list(journal.newest_first(None, None))
    list(journal.following())

    assert programs.calls("journalctl")[1].endswith(" --follow --lines=all --after-cursor=s=2b4b;i=801")


def test_a_journal_that_this_user_may_not_read_is_no_empty_journal(programs: Programs) -> None:
    hint = "Hint: You are currently not seeing messages from other users and the system."
    programs.add("journalctl", complains=hint)

    with pytest.raises(NeedsRoot) as refused:
        LogReader(UNITS, UNITS.named(())).recent(since=None, most=10, wanted=None)
    assert "sudo orthanc" in str(refused.value.hint)


CONTAINERS = a_host(
    "compose", a_service("router", log="logfmt"), control=["docker", "compose", "--file", "/opt/orthanc/compose.yml"]
)


@pytest.mark.parametrize("before", ["", "\x1b[2K"], ids=["compose 2.32", "compose 2.26 of Debian 12"])
def test_a_containers_log_is_asked_for_by_time_without_names(programs: Programs, before: str) -> None:
    printed = f"{before}2026-02-03T10:00:01.123456789Z {line(1)}{before}2026-02-03T10:00:02.999999999Z {line(2)}"
    programs.add("docker", prints=printed)

    found = LogReader(CONTAINERS, CONTAINERS.named(())).recent(since=None, most=10, wanted=None)

    assert programs.calls("docker") == [
        "compose --file /opt/orthanc/compose.yml logs --no-color --no-log-prefix --timestamps --tail=10 router"
    ]
    assert lines(found) == ["s1", "s2"]


def test_a_containers_log_is_followed_from_the_next_nanosecond(programs: Programs) -> None:
    programs.add("docker", prints=f"2026-02-03T10:00:02.999999999Z {line(2)}")
    log = ContainerLog(CONTAINERS, CONTAINERS.named(())[0])
    list(log.newest_first(None, None))
    coming = log.following()
    next(coming)
    coming.close()

    assert programs.calls("docker")[1].endswith(" --follow --tail=all --since=2026-02-03T10:00:03Z router")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", NeedsRoot),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", RuntimeRefused),
    ],
)
def test_docker_that_refuses_says_why(programs: Programs, said: str, error: type[Exception]) -> None:
    programs.add("docker", complains=said, code=1)

    with pytest.raises(error, match=said[:20]):
        LogReader(CONTAINERS, CONTAINERS.named(())).recent(since=None, most=10, wanted=None)
