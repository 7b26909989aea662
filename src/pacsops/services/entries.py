"""One line of a service's log, understood: when, how serious, what. What no format fits stays as it is.

The formats: pacsops' own (observe/logs.py); Orthanc's, which is glog's
(https://orthanc.uclouvain.be/book/faq/log.html); PostgreSQL's with the log_line_prefix of
templates/postgresql.conf.j2; nginx' error log, and its access log as templates/nginx.conf.j2 has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from pacsops.services.host import LogFormat

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a runtime hands on. `at` and `level` are the runtime's own knowledge, None where it has none."""

    service: str
    text: str
    at: datetime | None = None
    level: Level | None = None
    by: str | None = None
    """Who says it, where that is not the service itself: systemd tells in a unit's journal how it fared."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line understood. Times are timezone-aware UTC.

    `continued`: the line belongs to the one before it, whose time and level it has.
    """

    service: str
    line: str
    at: datetime | None
    level: Level | None
    message: str
    component: str | None = None
    event: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    continued: bool = False

    def after(self, head: Entry) -> Entry:
        """The same, as a continuation of `head`."""
        return replace(self, at=self.at or head.at, level=head.level, component=head.component, continued=True)


def understood(line: Line, form: LogFormat) -> tuple[Entry, bool]:
    """The entry, and whether it stands for itself: False, it is the continuation of an earlier line."""
    if line.by is not None:
        return Entry(line.service, line.text, line.at, line.level, line.text, line.by), True
    read = _FORMATS[form](line)
    if read is not None:
        return read, True
    alone = form == "text" or line.text.startswith("Traceback (most recent call last)")
    level = "ERROR" if form != "text" and alone else line.level
    return Entry(line.service, line.text, line.at, level, line.text), alone


_LOGFMT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (\w+) +\[([\w.-]+)\] ?(\S*)(.*)")
_PAIR = re.compile(r' ([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')


def _logfmt(line: Line) -> Entry | None:
    found = _LOGFMT.fullmatch(line.text)
    if found is None:
        return None
    moment, word, component, event, rest = found.groups()
    fields = {key: _unquoted(value) for key, value in _PAIR.findall(rest)}
    level = _level(word)
    return Entry(
        line.service,
        line.text,
        datetime.fromisoformat(moment),
        level,
        (event + rest).strip(),
        component,
        event,
        fields,
    )


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


_GLOG = re.compile(r"([EWITF])(\d{4} \d\d:\d\d:\d\d)\.(\d{1,6}) +(?:([^\]:]*?) +)?([\w.-]+:\d+)\] ?(.*)")
_GLOG_TIME = "%Y%m%d %H:%M:%S.%f"
_GLOG_LEVELS: Mapping[str, Level] = {"E": "ERROR", "F": "ERROR", "W": "WARN", "I": "INFO", "T": "DEBUG"}


def _orthanc(line: Line) -> Entry | None:
    found = _GLOG.fullmatch(line.text)
    if found is None:
        return None
    letter, month_to_second, fraction, _thread, where, message = found.groups()
    try:
        at = line.at or _this_year(f"{month_to_second}.{fraction}")
    except ValueError:
        return None
    return Entry(line.service, line.text, at, _GLOG_LEVELS[letter], message, where.partition(":")[0])


def _this_year(moment: str) -> datetime:
    """A local time that says no year, `0203 10:30:15.123456`: the newest one that is not in the future."""
    now = datetime.now().astimezone()
    at = datetime.strptime(f"{now.year}{moment}", _GLOG_TIME).astimezone()
    if at > now + timedelta(days=1):  # written before New Year, read after
        at = datetime.strptime(f"{now.year - 1}{moment}", _GLOG_TIME).astimezone()
    return at.astimezone(UTC)


_POSTGRESQL = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) (\S+) \[\d+\] (?:(\S+@\S+) (.*?) )?([A-Z]+\d?):  (.*)", re.DOTALL
)
_DETAILS = frozenset({"DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION", "BACKTRACE"})


def _postgresql(line: Line) -> Entry | None:
    found = _POSTGRESQL.fullmatch(line.text)
    if found is None or found[5] in _DETAILS:
        return None
    moment, zone, session, _application, word, message = found.groups()
    local = datetime.fromisoformat(moment)
    at = line.at or (local.replace(tzinfo=UTC) if zone in ("UTC", "GMT") else local.astimezone(UTC))
    return Entry(line.service, line.text, at, _level(word), message, session)


_NGINX_ERROR = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d) \[(\w+)\] \d+#\d+: (.*)")
_NGINX_ACCESS = re.compile(r"time=(\S+)((?: [\w.]+=(?:\"(?:[^\"\\]|\\.)*\"|\S*))*)")


def _nginx(line: Line) -> Entry | None:
    if found := _NGINX_ERROR.fullmatch(line.text):
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        at = line.at or datetime(year, month, day, hour, minute, second).astimezone(UTC)
        return Entry(line.service, line.text, at, _level(found[7]), found[8])
    found = _NGINX_ACCESS.fullmatch(line.text)
    if found is None:
        return None
    fields = {key: _unquoted(value) for key, value in _PAIR.findall(found[2])}
    failed = fields.get("status", "").startswith("5")
    at = datetime.fromisoformat(found[1]).astimezone(UTC)
    return Entry(line.service, line.text, at, "ERROR" if failed else "INFO", found[2].strip(), fields=fields)


_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?) +(.*)")


def _text(line: Line) -> Entry | None:
    found = _ISO.fullmatch(line.text)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[1].replace(",", ".")).astimezone(UTC)
    except ValueError:
        return None
    return Entry(line.service, line.text, at, line.level, found[2])


_FORMATS: Mapping[LogFormat, Callable[[Line], Entry | None]] = {
    "logfmt": _logfmt,
    "orthanc": _orthanc,
    "postgresql": _postgresql,
    "nginx": _nginx,
    "text": _text,
}

_LEVELS: Mapping[str, Level] = {
    "DEBUG": "DEBUG",
    "DEBUG1": "DEBUG",
    "WARN": "WARN",
    "WARNING": "WARN",
    "ERROR": "ERROR",
    "CRITICAL": "ERROR",
    "FATAL": "ERROR",
    "PANIC": "ERROR",
    "CRIT": "ERROR",
    "ALERT": "ERROR",
    "EMERG": "ERROR",
}


def _level(word: str) -> Level:
    """PostgreSQL's LOG, NOTICE and INFO, nginx' notice and info: what is not worse is INFO."""
    return _LEVELS.get(word.upper(), "INFO")
