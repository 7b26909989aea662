"""C-STORE by Orthanc's job engine.

Source: https://orthanc.uclouvain.be/book/users/advanced-rest.html#jobs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc.client import Orthanc
from pacsops.orthanc.failures import JobFailure, classify

_ALL_JOBS_SECONDS = 120.0  # each job lists its images


@dataclass(frozen=True, slots=True)
class Job:
    """One send, as Orthanc tells of it."""

    id: str
    state: str
    """Pending, Running, Success, Failure, Paused or Retry."""
    failure: JobFailure | None
    """Set when, and only when, `state` is Failure."""
    remote_aet: str
    parent_resources: tuple[str, ...]
    """The ids `submit_store` was given."""
    instances_count: int
    progress: int
    """Per cent of the images behind it; a failed job stopped at its first failure."""
    created_at: datetime

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Self:
        content = job.get("Content", {})
        failed = job["State"] == "Failure"
        return cls(
            id=str(job["ID"]),
            state=str(job["State"]),
            failure=_failure(job) if failed else None,
            remote_aet=str(content.get("RemoteAet", "")),
            parent_resources=tuple(content.get("ParentResources", ())),
            instances_count=int(content.get("InstancesCount", 0)),
            progress=int(job.get("Progress", 0)),
            created_at=_time(job["CreationTime"]),
        )


def submit_store(orthanc: Orthanc, destination: str, instance_ids: Sequence[str], *, timeout: int = 30) -> str:
    """Have Orthanc send these resources to one of its modalities over one association; the id of the job.

    Args:
        timeout: seconds Orthanc waits for the destination, in each phase of the association.

    Raises:
        NotFoundInOrthanc: the modality or an instance is not there; `failure_of` tells which.
    """
    answer = orthanc.post(
        f"/modalities/{destination}/store",
        {
            "Resources": list(instance_ids),
            "Asynchronous": True,
            # Permissive jobs report Success whatever the destination answered.
            "Permissive": False,
            "Timeout": timeout,
        },
        # Orthanc looks up every instance before it answers.
        timeout=max(30.0, orthanc.timeout),
    )
    return str(answer["ID"])


def job(orthanc: Orthanc, job_id: str) -> Job | None:
    """None when Orthanc does not know it (any more): restarted, or fallen out of JobsHistorySize."""
    try:
        return Job.of(orthanc.get(f"/jobs/{job_id}"))
    except NotFoundInOrthanc:
        return None


def store_jobs(orthanc: Orthanc) -> list[Job]:
    """Every send Orthanc remembers, oldest first."""
    jobs = orthanc.get("/jobs", params={"expand": ""}, timeout=_ALL_JOBS_SECONDS)
    sends = (Job.of(entry) for entry in jobs if entry.get("Type") == "DicomModalityStore")
    return sorted(sends, key=lambda job: (job.created_at, job.id))


def _failure(job: Mapping[str, Any]) -> JobFailure:
    details = job.get("ErrorDetails") or job.get("ErrorDescription") or ""
    return classify(int(job["ErrorCode"]), str(details))


def _time(text: str) -> datetime:
    """Orthanc's `YYYYMMDDTHHMMSS[.ffffff]`, UTC."""
    pattern = "%Y%m%dT%H%M%S.%f" if "." in text else "%Y%m%dT%H%M%S"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC)
