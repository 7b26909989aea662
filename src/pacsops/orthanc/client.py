"""Orthanc's REST API: one client for every thread, no request without a timeout, errors an operator can read.

Source: https://orthanc.uclouvain.be/book/users/rest.html and the REST API cheat sheet; Orthanc 1.10 and newer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from pacsops.errors import NotFoundInOrthanc, OrthancRefused, OrthancUnreachable
from pacsops.settings import Settings

ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
"""What Orthanc's identifiers look like: a SHA-1 in five groups."""

_CREDENTIALS_HINT = (
    "ORTHANC_USERNAME and ORTHANC_PASSWORD in the .env must be a user of RegisteredUsers in orthanc.json"
)
_DOWN_HINT = "`orthanc status` shows what runs; ORTHANC_URL in the .env says where Orthanc is expected"


@dataclass(frozen=True, slots=True)
class Statistics:
    """GET /statistics."""

    studies: int
    instances: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class StudyHeader:
    """A study as Orthanc's index knows it. Texts are empty where the study has none."""

    study_id: str
    study_uid: str
    accession_number: str
    patient_name: str
    patient_id: str
    study_description: str
    study_date: date | None
    is_stable: bool
    last_update: str
    """Orthanc's LastUpdate, `YYYYMMDDTHHMMSS` in UTC; changes whenever an instance is added."""
    tags: Mapping[str, str] = field(compare=False, repr=False)
    """What the index holds of patient and study, by DICOM keyword."""

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> Self:
        """From a study as /studies/{id} and /tools/bulk-content describe it."""
        tags = {**resource.get("PatientMainDicomTags", {}), **resource["MainDicomTags"]}
        return cls(
            study_id=resource["ID"],
            study_uid=tags.get("StudyInstanceUID", ""),
            accession_number=tags.get("AccessionNumber", ""),
            patient_name=tags.get("PatientName", ""),
            patient_id=tags.get("PatientID", ""),
            study_description=tags.get("StudyDescription", ""),
            study_date=_date(tags.get("StudyDate", "")),
            is_stable=bool(resource.get("IsStable")),
            last_update=str(resource.get("LastUpdate", "")),
            tags=tags,
        )


class Orthanc:
    """One Orthanc. Safe to share between threads: each has a keep-alive connection of its own.

    Args:
        url: `http://host:port`, without a trailing slash.
        username, password: empty for an Orthanc without authentication.
        timeout: seconds to connect, and seconds between two bytes of an answer.

    Every method raises OrthancUnreachable (no answer), NotFoundInOrthanc (404) or OrthancRefused (any other error).
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._credentials = (username, password) if username else None
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings, *, timeout: float = 10.0) -> Self:
        return cls(settings.orthanc_url, settings.orthanc_username, settings.orthanc_password, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of every thread; a later request opens a new one."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
            self._local = threading.local()
        for session in sessions:
            session.close()

    def system(self) -> dict[str, Any]:
        """GET /system: Version, DicomAet, ... Does not touch Orthanc's database."""
        answer: dict[str, Any] = self.get("/system")
        return answer

    def clock(self) -> datetime:
        """GET /tools/now: its host's clock, to the second."""
        said = str(self._request("GET", "/tools/now", again=True, text=True))
        try:
            return datetime.strptime(said, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise OrthancRefused(f"Orthanc at {self.url} says no time: {said[:40]!r}", status=200) from error

    def statistics(self) -> Statistics:
        answer = self.get("/statistics")
        return Statistics(
            studies=int(answer["CountStudies"]),
            instances=int(answer["CountInstances"]),
            disk_bytes=int(answer["TotalDiskSize"]),
        )

    def studies_page(self, since: int, limit: int) -> list[StudyHeader]:
        """Up to `limit` studies after the first `since`; fewer than `limit` (maybe none) at the end.

        Pages count rows, so a study deleted while paging can hide one other study from this scan.
        """
        page = self.get("/studies", params={"since": since, "limit": limit, "expand": ""})
        return [StudyHeader.of(resource) for resource in page]

    def study_header(self, study_id: str) -> StudyHeader:
        return StudyHeader.of(self.get(f"/studies/{study_id}"))

    def studies_of(self, resources: Sequence[str]) -> list[StudyHeader]:
        """The studies that hold these resources or are among them; ids Orthanc does not know are left out."""
        return [StudyHeader.of(resource) for resource in self.bulk_content(resources, "Study")]

    def lookup(self, name: str) -> list[str]:
        """Orthanc's ids of the studies with this Orthanc id, StudyInstanceUID or accession number.

        Several studies may share an accession number.
        """
        if ORTHANC_ID.fullmatch(name):
            return [header.study_id for header in self.studies_of([name]) if header.study_id == name]
        # Orthanc would read these as patterns and lists (PS3.4 C.2.2.2), or refuse them.
        if not name.strip() or not name.isprintable() or re.search(r"[*?\\]", name):
            return []
        by_uid = {entry["ID"] for entry in self.ask("/tools/lookup", name) if entry["Type"] == "Study"}
        query = {"Level": "Study", "Query": {"AccessionNumber": name}, "CaseSensitive": True}
        return sorted(by_uid | set(self.ask("/tools/find", query)))

    def bulk_content(
        self, resources: Sequence[str], level: str, *, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """POST /tools/bulk-content: everything the index holds at `level` (Study, Series, Instance) of `resources`.

        Unknown resources are left out. Orthanc gathers all before it sends the first byte: about 1 s for 1000
        instances with an index in PostgreSQL.
        """
        if not resources:
            return []
        question = {"Resources": list(resources), "Level": level, "Metadata": True}
        answer: list[dict[str, Any]] = self.ask("/tools/bulk-content", question, timeout=timeout)
        return answer

    def instance_file(self, instance_id: str, file: Path, *, in_memory: int) -> Path | bytes:
        """GET /instances/{id}/file, the DICOM file as it was stored: its bytes; one of more than `in_memory` bytes is
        written to `file` instead.

        Raises:
            NotFoundInOrthanc: it is not there any more.
            OrthancUnreachable: no answer, or not all of it.
        """
        path = f"/instances/{instance_id}/file"
        try:
            with self._session().get(self.url + path, timeout=self.timeout, stream=True) as response:
                if response.status_code != HTTPStatus.OK:
                    raise self._refusal(response, "GET", path)
                if int(response.headers.get("Content-Length", 0)) <= in_memory:
                    return response.content
                with file.open("wb") as sink:
                    for piece in response.iter_content(1 << 20):
                        sink.write(piece)
        except requests.RequestException as error:
            raise OrthancUnreachable(
                f"Orthanc at {self.url} did not answer GET {path} to its end", hint=_DOWN_HINT
            ) from error
        return file

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        return self._request("GET", path, params=params, timeout=timeout, again=True)

    def ask(self, path: str, body: Any, *, timeout: float | None = None) -> Any:
        """A POST that only reads."""
        return self._request("POST", path, body=body, timeout=timeout, again=True)

    def post(self, path: str, body: Any, *, timeout: float | None = None) -> Any:
        return self._request("POST", path, body=body, timeout=timeout)

    def put(self, path: str, body: Any) -> Any:
        return self._request("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        return self._request("DELETE", path)

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        again: bool = False,
        text: bool = False,
    ) -> Any:
        """One request; `again`: it only reads, so repeat it when Orthanc had just closed the idle connection.

        `text`: the answer is no JSON.
        """
        text_or_file = body.encode() if isinstance(body, str) else body
        content: dict[str, Any] = {"data" if isinstance(text_or_file, bytes) else "json": text_or_file}
        for last in (not again, True):
            try:
                response = self._session().request(
                    method,
                    self.url + path,
                    params=params,
                    timeout=self.timeout if timeout is None else timeout,
                    allow_redirects=False,
                    **content,
                )
            except requests.Timeout as error:
                seconds = self.timeout if timeout is None else timeout
                raise OrthancUnreachable(
                    f"Orthanc at {self.url} did not answer {method} {path} within {seconds:g} s",
                    hint=_DOWN_HINT,
                ) from error
            except requests.ConnectionError as error:
                if last:
                    raise OrthancUnreachable(
                        f"cannot reach Orthanc at {self.url}: {_reason(error)}", hint=_DOWN_HINT
                    ) from error
            except requests.RequestException as error:
                raise OrthancUnreachable(
                    f"cannot ask Orthanc at {self.url}: {error}", hint="check ORTHANC_URL in the .env"
                ) from error
            else:
                return self._content(response, method, path, text=text)
        raise AssertionError("the last attempt returns or raises")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            # A proxy or .netrc of the host's user must not stand between two programs of one site.
            session.trust_env = False
            session.auth = self._credentials
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def _content(self, response: requests.Response, method: str, path: str, *, text: bool) -> Any:
        if response.status_code >= 300:
            raise self._refusal(response, method, path)
        if text:
            return response.text.strip()
        if not response.content:
            return None
        try:
            return response.json()
        except requests.JSONDecodeError as error:
            raise OrthancRefused(
                f"what answers at {self.url} is not Orthanc ({method} {path} gave no JSON)",
                status=response.status_code,
                hint="check ORTHANC_URL in the .env",
            ) from error

    def _refusal(self, response: requests.Response, method: str, path: str) -> OrthancRefused:
        status = response.status_code
        if status in {401, 403}:
            return OrthancRefused(
                f"Orthanc at {self.url} does not accept the user name and password (HTTP {status})",
                status=status,
                hint=_CREDENTIALS_HINT,
            )
        details = _details(response)
        kind = NotFoundInOrthanc if status == 404 else OrthancRefused
        words = f"Orthanc refused {method} {path}: {details or response.reason} (HTTP {status})"
        return kind(words, status=status, details=details, hint="`orthanc logs --service orthanc --errors` says more")


def _details(response: requests.Response) -> str:
    """Orthanc's own words (HttpDescribeErrors), empty when there are none."""
    try:
        answer = response.json()
    except requests.JSONDecodeError:
        return ""
    if not isinstance(answer, dict):
        return ""
    return str(answer.get("Details") or answer.get("Message") or "")


def _reason(error: requests.ConnectionError) -> str:
    """The system's words ("Connection refused") out of what requests and urllib3 wrapped around them."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, requests.RequestException):
            return cause.strerror.lower()
        reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        cause = reason if isinstance(reason, BaseException) else cause.__cause__ or cause.__context__
    return "the connection broke"


def _date(text: str) -> date | None:
    """A DICOM date (PS3.5 6.2 DA); None when absent or garbled, as scanners send it now and then."""
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
