"""Orthanc: does it answer, does it take images, and is none of its settings one that loses them?"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, Severity, error, ok, unseen, warning
from pacsops.doctor.site import Site
from pacsops.errors import OrthancRefused, OrthancUnreachable
from pacsops.words import count

_PORT_TIMEOUT = 5.0
_UNAVAILABLE = 503
"""HTTP status of an Orthanc that has lost its database."""


@check("orthanc", section=Section.SERVICES)
def orthanc(site: Site) -> Iterator[Finding]:
    """Whether Orthanc's REST API answers and reaches its own database."""
    try:
        answer = site.system
        statistics = site.statistics
        _ = site.modalities
    except OrthancUnreachable as trouble:
        yield error(
            f"{trouble}. Nothing is received or sent; deliveries are kept and go on when it is back.",
            "on its host: `orthanc start orthanc`; ORTHANC_URL in the .env says where it is expected",
            state="down",
        )
        return
    except OrthancRefused as trouble:
        yield error(
            f"{trouble}. It runs, but does not serve us: whether it receives and sends is not known.",
            "its index is in PostgreSQL: see to that first"
            if trouble.status == _UNAVAILABLE
            else trouble.hint or "`orthanc logs --service orthanc --errors`",
            state="refused",
        )
        return
    version = answer.system.get("Version")
    yield ok(
        f"Orthanc {version} answers at {site.settings.orthanc_url} in {answer.milliseconds} ms",
        figures=(Figure("orthanc", answer.milliseconds / 1000, "s"), Figure("instances", statistics.instances)),
        state="running",
        version=version,
        answers_ms=answer.milliseconds,
        studies=statistics.studies,
        instances=statistics.instances,
        dicom_bytes=statistics.disk_bytes,
    )


@check("dicom-port", section=Section.SERVICES)
def dicom_port(site: Site) -> Iterator[Finding]:
    """Whether Orthanc's DICOM port takes connections."""
    host, port = urlsplit(site.settings.orthanc_url).hostname or "localhost", site.settings.orthanc_dicom_port
    try:
        socket.create_connection((host, port), timeout=_PORT_TIMEOUT).close()
    except OSError as trouble:
        yield error(
            f"Orthanc's DICOM port takes no connection ({host}:{port}): {trouble.strerror or trouble}.",
            "nothing can be received: `orthanc restart orthanc`, `orthanc logs --service orthanc`;"
            " ORTHANC_DICOM_PORT in the .env names the port",
            host=host,
            port=port,
        )
        return
    yield ok(f"the DICOM port is open ({host}:{port})", host=host, port=port)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A setting of Orthanc, and the values that lose images or promises. `path`: through nested objects."""

    setting: str
    loses: Callable[[Any], bool]
    severity: Severity
    why: str
    then: str


def _is(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


_LOSSY = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5[01]|81|91|93|203)$")  # JPEG, JPEG-LS and -2000, HTJ2K: PS3.6 A
_BY_HARDWARE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}$")

_RULES = (
    _Rule(
        "OverwriteInstances",
        _is(True, "Always", "IfChanged"),
        "warning",
        "an image that comes again under the same UID replaces the first, whatever is in it",
        "false, unless the site corrects images under their old UIDs",
    ),
    _Rule(
        "StableAge",
        lambda value: value < 2 or value > 600,
        "warning",
        "too short, and a study is sent in pieces; too long, and it waits, and waits anew when Orthanc restarts",
        "60 s; slow senders may need more",
    ),
    _Rule(
        "StorageCompression",
        _is(True),
        "warning",
        "files in the storage are no DICOM files: without Orthanc's index nobody can read them",
        "false",
    ),
    _Rule(
        "SaveJobs",
        _is(True),
        "warning",
        "jobs come back after a restart beside the deliveries that are tried again: images are sent twice",
        "false: every delivery is in PostgreSQL",
    ),
    _Rule(
        "JobsHistorySize",
        lambda value: value < 100,
        "warning",
        "Orthanc forgets how a job ended before the router has asked: what was delivered is sent again",
        "300",
    ),
    _Rule(
        "ConcurrentJobs",
        lambda value: 0 < value < 8,
        "warning",
        "a few destinations that do not answer hold up every other",
        "32",
    ),
    _Rule(
        "DicomModalitiesInDatabase",
        _is(False),
        "error",
        "destinations added by `orthanc add-destination` are gone after a restart",
        "true",
    ),
    _Rule(
        "DatabaseServerIdentifier",
        lambda value: not value or bool(_BY_HARDWARE.match(str(value))),
        "warning",
        "it is made of the host's network cards: on another host, or with another card, every destination is gone",
        "a name, once and for all",
    ),
    _Rule(
        "PostgreSQL.EnableStorage",
        _is(True),
        "warning",
        "images are kept in the database, where backups and checks of files do not see them",
        "false",
    ),
    _Rule(
        "IngestTranscoding",
        lambda value: bool(_LOSSY.match(str(value))),
        "error",
        "images are compressed with loss as they come in; the originals are not kept",
        "an empty text, or a lossless transfer syntax",
    ),
    _Rule(
        "ReadOnly",
        _is(True),
        "error",
        "Orthanc takes no image",
        "false",
    ),
)
_DEFAULTS: Mapping[str, Any] = {
    # What Orthanc does where its configuration is silent; Configuration.json of its sources.
    "JobsHistorySize": 10,
    "ConcurrentJobs": 2,
    "SaveJobs": True,
    "DicomModalitiesInDatabase": False,
    "DatabaseServerIdentifier": "",
    "StableAge": 60,
}


@check("orthanc-settings", section=Section.ORTHANC)
def orthanc_settings(site: Site) -> Iterator[Finding]:
    """Orthanc's settings that lose images or deliveries."""
    system = site.system.system
    file = site.home / "config" / "orthanc" / "orthanc.json"
    written = _configuration(file)
    # /system speaks of the process that runs, the file of the one that will.
    known = {**({**_DEFAULTS, **written} if written is not None else {}), **system}
    looked_at = 0
    found = 0
    for rule in _RULES:
        value = _value(known, rule.setting)
        if value is None:
            continue
        looked_at += 1
        if rule.loses(value):
            found += 1
            yield Finding(
                severity=rule.severity,
                message=f"{rule.setting} is {json.dumps(value)}: {rule.why}.",
                recommendation=f"set {rule.setting} in orthanc.json to {rule.then}, and restart Orthanc",
                subject=rule.setting,
                evidence={"setting": rule.setting, "value": value},
            )
    for finding in _recycling(known):
        found += 1
        yield finding
    if written is None:
        yield unseen(
            f"most of Orthanc's settings: {file} is not here, or not for this user",
            "run it on Orthanc's host, as root",
            subject="orthanc.json",
            path=str(file),
            settings=looked_at,
        )
    elif not found:
        yield ok(f"none of {count(looked_at, 'setting')} loses images or deliveries", path=str(file))


def _recycling(known: Mapping[str, Any]) -> Iterator[Finding]:
    limits = {name: known.get(name, 0) for name in ("MaximumStorageSize", "MaximumPatientCount")}
    if not any(limits.values()):
        return
    if known.get("MaximumStorageMode", "Recycle") == "Reject":
        yield warning(
            f"Orthanc refuses images beyond its limit ({json.dumps(limits)}).",
            "look at how full it is with `orthanc status`; without a limit it fills the disk",
            subject="MaximumStorageMode",
            **limits,
        )
        return
    yield error(
        f"Orthanc deletes the oldest studies when it is full ({json.dumps(limits)}), also those nobody has yet.",
        'set MaximumStorageMode in orthanc.json to "Reject", or both limits to 0, and restart Orthanc',
        subject="MaximumStorageMode",
        **limits,
    )


def _value(known: Mapping[str, Any], path: str) -> Any:
    value: Any = known
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def _configuration(file: Path) -> Mapping[str, Any] | None:
    """An orthanc.json, which may have comments; None when it cannot be read."""
    try:
        text = file.read_text("utf-8")
        said = json.loads(_COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else "", text))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None
