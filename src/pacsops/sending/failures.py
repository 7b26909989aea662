"""What a send met, as deliveries are told: of the same kinds as what Orthanc's jobs report.

Source: PS3.4 B.2.3 (C-STORE statuses), PS3.7 annex C
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pacsops.delivery.model import ErrorClass
from pacsops.delivery.retry import Failure
from pacsops.dimse import DimseError, Instance, OperationFailed, UnreadableFile

_WORST_FIRST = (ErrorClass.VANISHED, ErrorClass.PEER_STATUS, ErrorClass.NO_PRESENTATION_CONTEXT)


def failure_of(error: DimseError, trouble: ErrorClass, instance: Instance | None = None) -> Failure:
    """The failure behind an error.

    Args:
        trouble: what it is called when it is we who cannot send.
        instance: what it was about, if it was about one.
    """
    return Failure(
        trouble if isinstance(error, UnreadableFile) else ErrorClass(error.kind),
        str(error),
        error.status if isinstance(error, OperationFailed) else None,
        instance.sop_class_uid if instance else None,
        instance.transfer_syntax_uid if instance else None,
    )


def worst(failures: Sequence[Failure], instances: int) -> Failure:
    """Of what single instances met, what decides about the delivery of them all: another attempt, where one helps.

    Args:
        failures: one or more.
        instances: how many the attempt was about.
    """
    chosen = min(failures, key=_rank)
    if instances == 1:
        return chosen
    return replace(chosen, reason=f"{len(failures)} of {instances} images did not arrive: {chosen.reason}")


def _rank(failure: Failure) -> tuple[bool, int]:
    known = failure.error_class in _WORST_FIRST
    return failure.permanent, _WORST_FIRST.index(failure.error_class) if known else -1
