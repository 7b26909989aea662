"""Which images a destination has: asked by C-FIND, or by storage commitment, through Orthanc.

Sources: PS3.4 C.4.1 (C-FIND) and annex J (storage commitment);
https://orthanc.uclouvain.be/book/users/storage-commitment.html and /book/users/rest.html (queries)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pacsops.dimse.presence import OFFER, Finder, Identified
from pacsops.errors import DestinationMute, NotFoundInOrthanc, OrthancRefused
from pacsops.orthanc.client import Orthanc
from pacsops.orthanc.failures import failure_of

_TIMEOUT_SECONDS = 30
_NO_SUCH_OBJECT = 0x0112  # PS3.3 C.14: the failure reason of what it does not have
_NOT_OFFERED = ("remote aet is", "presentation context")  # Orthanc's words when the peer refuses the SOP class
_INVISIBLE = frozenset({401, 403, 502, 503, 504})


def identified(orthanc: Orthanc, instance_ids: Sequence[str]) -> list[Identified]:
    """Their DICOM identifiers, in three requests; what Orthanc no longer holds is left out."""
    images = orthanc.bulk_content(instance_ids, "Instance", timeout=120)
    series = _by_id(orthanc.bulk_content(instance_ids, "Series", timeout=120))
    studies = _by_id(orthanc.bulk_content(instance_ids, "Study", timeout=120))
    found = []
    for image in images:
        of_series = series.get(image["ParentSeries"])
        of_study = studies.get(of_series["ParentStudy"]) if of_series else None
        if of_series and of_study:
            found.append(
                Identified(
                    image["ID"],
                    of_study["MainDicomTags"]["StudyInstanceUID"],
                    of_series["MainDicomTags"]["SeriesInstanceUID"],
                    image["MainDicomTags"]["SOPInstanceUID"],
                )
            )
    return found


def finder(orthanc: Orthanc, destination: str) -> Finder:
    """Asks one of Orthanc's modalities; besides what a Finder raises: OrthancUnreachable.

    Each of its questions blocks: its coroutines are for a loop of their own.
    """

    async def find(study_uid: str, series_uid: str, sop_uids: Sequence[str]) -> set[str]:
        named = {
            "StudyInstanceUID": study_uid,
            "SeriesInstanceUID": series_uid,
            "SOPInstanceUID": "\\".join(sop_uids),
        }
        question = {"Level": "Instance", "Query": named, "Timeout": _TIMEOUT_SECONDS}
        answer = _asked(orthanc, destination, "query", question, OFFER)
        path = f"/queries/{answer['ID']}"
        try:
            found = orthanc.get(f"{path}/answers", params={"expand": "", "simplify": ""}, timeout=60)
        finally:
            orthanc.delete(path)
        return {str(entry.get("SOPInstanceUID", "")).strip(" \0") for entry in found}

    return Finder(find)


@dataclass(frozen=True, slots=True)
class Commitment:
    """A storage commitment as far as it is answered."""

    state: Literal["pending", "kept", "not kept"]
    absent: frozenset[str] = frozenset()
    """SOP instance UIDs the destination says it does not have."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """SOP instance UIDs it has trouble with, by failure reason (PS3.3 C.14)."""


def request_commitment(orthanc: Orthanc, destination: str, instance_ids: Sequence[str]) -> str:
    """Ask the destination to take the images into its keeping; the transaction's UID. It answers Orthanc later.

    Raises:
        DestinationMute: it cannot be asked, or offers no storage commitment.
        OrthancUnreachable
    """
    body = {"Resources": list(instance_ids), "Timeout": _TIMEOUT_SECONDS}
    answer = _asked(orthanc, destination, "storage-commitment", body, "storage commitment")
    return str(answer["ID"])


def commitment(orthanc: Orthanc, reference: str) -> Commitment | None:
    """None: Orthanc does not know of it any more (restarted, or a hundred came after it)."""
    try:
        report = orthanc.get(f"/storage-commitment/{reference}")
    except NotFoundInOrthanc:
        return None
    if report["Status"] == "Pending":
        return Commitment("pending")
    reasons = {
        str(entry["SOPInstanceUID"]): int(entry.get("FailureReason", _NO_SUCH_OBJECT))
        for entry in report.get("Failures", ())
    }
    return Commitment(
        "not kept" if reasons else "kept",
        frozenset(uid for uid, reason in reasons.items() if reason == _NO_SUCH_OBJECT),
        {uid: reason for uid, reason in reasons.items() if reason != _NO_SUCH_OBJECT},
    )


def _asked(orthanc: Orthanc, destination: str, service: str, body: Mapping[str, Any], what: str) -> Any:
    try:
        return orthanc.post(f"/modalities/{destination}/{service}", body, timeout=4 * _TIMEOUT_SECONDS)
    except OrthancRefused as error:
        if error.status in _INVISIBLE:
            raise
        offered = not any(words in error.details.lower() for words in _NOT_OFFERED)
        failure = failure_of(error, timeout=_TIMEOUT_SECONDS)
        why = failure.message if offered else f"it does not offer {what}"
        raise DestinationMute(
            f"{destination} cannot be asked what it has: {why}",
            dimse_status=failure.dimse_status,
            hint="ask its administrator to let our AE title do so, or say"
            f" `orthanc add-destination --name {destination} --verify none`",
        ) from error


def _by_id(resources: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {resource["ID"]: resource for resource in resources}
