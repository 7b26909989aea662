"""Which kind of image a send failed at: failures alike are shown, understood and mended together.

Orthanc ends a job at its first failure and tells how far it was in per cent, sometimes the kind of image by name. Of
a large study that leaves some twenty candidates; their index entries tell the kind where all are of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pacsops.delivery.model import ErrorClass
from pacsops.delivery.retry import Failure
from pacsops.errors import OrthancRefused, OrthancUnreachable
from pacsops.orthanc import JobFailure, Orthanc

_ABOUT_AN_IMAGE = frozenset({ErrorClass.NO_PRESENTATION_CONTEXT, ErrorClass.PEER_STATUS, ErrorClass.ABORTED})
"""An outage is about no image: its failures stay one group."""
_MOST_CANDIDATES = 200
_QUICKLY_SECONDS = 5.0


def with_culprit(
    orthanc: Orthanc, failure: Failure, why: JobFailure, instances: Sequence[str], progress: int
) -> Failure:
    """The failure, with SOP class and transfer syntax of the image it was about as far as they can be told.

    Args:
        instances: Orthanc ids in the order they were sent.
        progress: per cent of them the job had behind it.
    """
    if failure.error_class not in _ABOUT_AN_IMAGE:
        return failure
    sop_class, syntax = why.sop_class, why.transfer_syntax
    if sop_class is None or syntax is None:
        kinds = [
            kind
            for kind in _kinds(orthanc, candidates(instances, progress))
            if sop_class in (None, kind[0]) and syntax in (None, kind[1])
        ]
        sop_class = sop_class or _the_one({kind[0] for kind in kinds})
        syntax = syntax or _the_one({kind[1] for kind in kinds})
    return replace(failure, sop_class=sop_class, transfer_syntax=syntax)


def candidates(instances: Sequence[str], progress: int) -> Sequence[str]:
    """Those a job that was `progress` per cent done may have stopped at, however the per cent were rounded."""
    total = len(instances)
    chosen = [instance for done, instance in enumerate(instances) if abs(100 * done - progress * total) <= total]
    return chosen if len(chosen) <= _MOST_CANDIDATES else ()


def _kinds(orthanc: Orthanc, instances: Sequence[str]) -> set[tuple[str, str]]:
    """SOP classes and transfer syntaxes of instances; none when Orthanc cannot say now."""
    try:
        found = orthanc.bulk_content(instances, "Instance", timeout=_QUICKLY_SECONDS)
    except (OrthancUnreachable, OrthancRefused):
        return set()
    metadata = [instance.get("Metadata", {}) for instance in found]
    return {(entry.get("SopClassUid", ""), entry.get("TransferSyntax", "")) for entry in metadata}


def _the_one(uids: set[str]) -> str | None:
    return (uids.pop() or None) if len(uids) == 1 else None
