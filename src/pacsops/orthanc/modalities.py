"""Destinations and senders as Orthanc's DICOM modalities: read, bring to a wanted state, remove, echo.

Source: https://orthanc.uclouvain.be/book/faq/log.html and /book/users/rest.html (modalities), PS3.5 6.2 (AE)
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pacsops.errors import InvalidDestination, NotFoundInOrthanc, OrthancRefused, UnknownDestination
from pacsops.orthanc.client import Orthanc
from pacsops.orthanc.failures import JobFailure, failure_of

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_AE_TITLE = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """A DICOM system Orthanc sends to or hears from.

    Orthanc allows everything not denied, so that a destination could also query and fetch: here every right but
    C-ECHO must be given on purpose. `timeout` in seconds, 0 takes Orthanc's DicomScuTimeout. `local_aet` empty
    takes Orthanc's own AE title.
    """

    name: str
    aet: str
    host: str
    port: int
    manufacturer: str = "Generic"
    local_aet: str = ""
    use_dicom_tls: bool = False
    timeout: int = 0
    allow_echo: bool = True
    allow_store: bool = False
    allow_find: bool = False
    allow_move: bool = False
    allow_get: bool = False

    @classmethod
    def of(cls, name: str, resource: Mapping[str, Any]) -> Self:
        """From an entry of /modalities?expand."""
        return cls(
            name=name,
            aet=str(resource["AET"]),
            host=str(resource["Host"]),
            port=int(resource["Port"]),
            manufacturer=str(resource.get("Manufacturer", "Generic")),
            local_aet=str(resource.get("LocalAet", "")),
            use_dicom_tls=bool(resource.get("UseDicomTls", False)),
            timeout=int(resource.get("Timeout", 0)),
            allow_echo=bool(resource.get("AllowEcho", True)),
            allow_store=bool(resource.get("AllowStore", True)),
            allow_find=bool(resource.get("AllowFind", True)),
            allow_move=bool(resource.get("AllowMove", True)),
            allow_get=bool(resource.get("AllowGet", True)),
        )

    def resource(self) -> dict[str, Any]:
        """What PUT /modalities/{name} takes."""
        return {
            "AET": self.aet,
            "Host": self.host,
            "Port": self.port,
            "Manufacturer": self.manufacturer,
            "LocalAet": self.local_aet,
            "UseDicomTls": self.use_dicom_tls,
            "Timeout": self.timeout,
            "AllowEcho": self.allow_echo,
            "AllowStore": self.allow_store,
            "AllowFind": self.allow_find,
            "AllowFindWorklist": self.allow_find,
            "AllowMove": self.allow_move,
            "AllowGet": self.allow_get,
        }

    def check(self) -> None:
        """Raise InvalidDestination, naming the value, for what Orthanc or DICOM would not take."""
        check_name(self.name)
        try:
            check_aet(self.aet)
            if self.local_aet:
                check_aet(self.local_aet)
            check_host(self.host)
            check_port(self.port)
            if self.timeout < 0:
                raise InvalidDestination(f"a timeout of {self.timeout} s", hint="0 for Orthanc's default, or more")
        except InvalidDestination as error:
            raise InvalidDestination(f"destination {self.name}: {error}", hint=error.hint) from None

    def differences(self, other: Modality) -> dict[str, tuple[Any, Any]]:
        """What is another value there: field → (here, there)."""
        here, there = asdict(self), asdict(other)
        return {name: (value, there[name]) for name, value in here.items() if value != there[name]}


def check_name(name: str) -> None:
    """Raise InvalidDestination unless Orthanc takes it for the name of a modality."""
    if not _NAME.fullmatch(name):
        raise InvalidDestination(f"{name!r} cannot name a destination", hint="use letters, digits, `-` and `_` only")


def check_aet(aet: str) -> None:
    """Raise InvalidDestination unless it is an AE title (PS3.5 6.2, AE)."""
    if not _AE_TITLE.fullmatch(aet):
        raise InvalidDestination(
            f"{aet!r} is no AE title",
            hint="1 to 16 printable ASCII characters, no backslash, no space at either end",
        )


def check_host(host: str) -> None:
    """Raise InvalidDestination unless it may be a host name or an address. It need not be known."""
    if not host or re.search(r"[\s/\\]", host):
        raise InvalidDestination(f"{host!r} is no host", hint="give a host name or an IP address")


def check_port(port: int) -> None:
    """Raise InvalidDestination unless it is a TCP port."""
    if not 1 <= port <= 65535:
        raise InvalidDestination(f"{port} is no TCP port", hint="a number from 1 to 65535")


@dataclass(frozen=True, slots=True)
class ModalityChange:
    """What `ensure` or `remove` did, or would do. None: no such modality."""

    changed: bool
    before: Modality | None
    after: Modality | None

    def diff(self) -> dict[str, dict[str, Any]]:
        """Ansible's `diff`: every value before and after."""
        return {
            "before": asdict(self.before) if self.before else {},
            "after": asdict(self.after) if self.after else {},
        }


@dataclass(frozen=True, slots=True)
class Echo:
    """Outcome of a C-ECHO (PS3.4 annex A) by Orthanc; `milliseconds` from request to answer or failure."""

    ok: bool
    milliseconds: int
    failure: JobFailure | None


def all_modalities(orthanc: Orthanc) -> dict[str, Modality]:
    """By name."""
    resources = orthanc.get("/modalities", params={"expand": ""})
    return {name: Modality.of(name, resource) for name, resource in resources.items()}


def ensure(orthanc: Orthanc, wanted: Modality, *, apply: bool = True) -> ModalityChange:
    """Have exactly this modality; Orthanc is written to only when something differs, and never without `apply`.

    Raises:
        InvalidDestination: a value Orthanc or DICOM would not take.
    """
    wanted.check()
    before = all_modalities(orthanc).get(wanted.name)
    if before == wanted:
        return ModalityChange(changed=False, before=before, after=before)
    if apply:
        orthanc.put(f"/modalities/{wanted.name}", wanted.resource())
    return ModalityChange(changed=True, before=before, after=wanted)


def remove(orthanc: Orthanc, name: str, *, apply: bool = True) -> ModalityChange:
    """Have no modality of this name."""
    before = all_modalities(orthanc).get(name)
    if before is not None and apply:
        orthanc.delete(f"/modalities/{name}")
    return ModalityChange(changed=before is not None, before=before, after=None)


def echo(orthanc: Orthanc, name: str, *, timeout: float = 5) -> Echo:
    """C-ECHO from Orthanc to a modality it has. `timeout`: seconds for each of connecting, associating, answering.

    Raises:
        UnknownDestination: Orthanc has no modality of this name.
    """
    try:
        return _echo(orthanc, f"/modalities/{name}/echo", {}, timeout)
    except NotFoundInOrthanc as error:
        raise UnknownDestination(
            f"Orthanc has no destination {name}", hint="`orthanc destinations` names those it has"
        ) from error


def echo_unregistered(orthanc: Orthanc, modality: Modality, *, timeout: float = 5) -> Echo:
    """C-ECHO from Orthanc to a modality it need not have."""
    return _echo(orthanc, "/tools/dicom-echo", modality.resource(), timeout)


def _echo(orthanc: Orthanc, path: str, body: Mapping[str, Any], timeout: float) -> Echo:
    seconds = max(1, math.ceil(timeout))
    started = time.perf_counter()
    try:
        # DCMTK grants each phase (connect, associate, answer, release) the whole timeout.
        orthanc.post(path, {**body, "Timeout": seconds}, timeout=4 * seconds + orthanc.timeout)
    except NotFoundInOrthanc:
        raise
    except OrthancRefused as error:
        if error.status in {400, 401, 403}:
            raise
        return Echo(ok=False, milliseconds=_milliseconds(started), failure=failure_of(error, timeout=seconds))
    return Echo(ok=True, milliseconds=_milliseconds(started), failure=None)


def _milliseconds(since: float) -> int:
    return round((time.perf_counter() - since) * 1000)
