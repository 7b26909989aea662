"""One line an event: `TIMESTAMP LEVEL [component] event key=value …`.

Only keys of the allow-list are written. What could name a patient (names, MRN, DICOM UIDs, accession numbers) is not
on it; Orthanc's own identifiers are one-way digests and are.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

ALLOWED_KEYS = frozenset(
    {
        "study_id",
        "delivery_id",
        "route",
        "destination",
        "level",
        "job_id",
        "attempt",
        "max_attempts",
        "wait_seconds",
        "duration_ms",
        "instances",
        "error",
        "error_class",
        "status",
        "route_version",
        "problems",
        "routes",
        "echo_ms",
        "seq",
        "previous_seq",
        "studies",
        "planned",
        "grown",
        "scanned",
        "asked",
        "lacking",
        "seconds",
        "component",
        "worker",
        "version",
        "path",
        "part",
        "calling_aet",
        "refused",
        "duplicates",
        "bytes",
        "since",
    }
)


class EventLog:
    """The log of one component, e.g. `routing`."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._logger = logging.getLogger(f"pacsops.{component}")

    def debug(self, event: str, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        said = {key: value for key, value in fields.items() if key in ALLOWED_KEYS and value is not None}
        self._logger.log(level, event, extra={"pacsops_component": self._component, "pacsops_fields": said})


_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        moment = f"{moment[:-4]}Z"
        level = _LEVELS.get(record.levelname, record.levelname)
        component = getattr(record, "pacsops_component", record.name)
        fields: Mapping[str, Any] = getattr(record, "pacsops_fields", {})
        said = "".join(f" {key}={_value(value)}" for key, value in fields.items())
        return f"{moment} {level:<5} [{component}] {record.getMessage()}{said}"


def _value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value)
    if text and not any(character.isspace() or character in '"=\\' for character in text) and text.isprintable():
        return text
    # Escaped, so that a hostile value cannot forge a line of its own.
    return json.dumps(text)


def write_to(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send every event of this process to `stream` (standard output: the runtime keeps and rotates it)."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_Line())
    logger = logging.getLogger("pacsops")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
