"""From what the routes select to promises in the database, in the caller's transaction.

Planning is idempotent: the same study, planned twice or by two routers, makes the same promises. A promise only
grows: a router with an older view of a study takes nothing away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pacsops.database import Transaction
from pacsops.database.pool import Row
from pacsops.delivery import breaker, sql
from pacsops.delivery.model import ErrorClass, Event, Status
from pacsops.delivery.states import GROW, RESTORE, RETURN, SUPERSEDE
from pacsops.delivery.timeline import record
from pacsops.routes import Selection, Send

_WIDTHS = {"study_uid": 128, "accession_number": 64, "patient_name": 256, "patient_id": 128, "study_description": 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyIdentity:
    """Who a study is, for people."""

    source: str
    study_id: str
    study_uid: str | None
    accession_number: str | None
    patient_name: str | None
    patient_id: str | None
    study_description: str | None
    study_date: date | None

    def columns(self) -> dict[str, Any]:
        """Values by column, cut to what fits: one study with an overlong header must not stop all routing."""
        fitted: dict[str, Any] = {"source": self.source, "study_id": self.study_id, "study_date": self.study_date}
        for name, width in _WIDTHS.items():
            value: str | None = getattr(self, name)
            fitted[name] = None if value is None else value.replace("\0", "")[:width]
        return fitted


@dataclass(frozen=True, slots=True)
class Planned:
    """Delivery ids promised now, and those that became pending again or larger."""

    new: tuple[int, ...]
    grown: tuple[int, ...]


def plan(
    tx: Transaction,
    study: StudyIdentity,
    selections: Sequence[Selection],
    route_version: str,
    *,
    ordered_by: str | None = None,
) -> Planned:
    """Promise what the routes selected of one study; `route_version` is the hash of the routes.yml that did.

    `ordered_by`: no route did, a person ordered it.
    """
    new, grown = [], []
    # In one order everywhere: two planners that meet new destinations must not wait for each other.
    for destination in sorted({selection.destination for selection in selections}):
        breaker.know(tx, destination)
    for selection in selections:
        row = _promise(tx, study, selection, route_version, ordered_by)
        if row is not None:
            new.append(row["id"])
        elif (row := _grow(tx, study, selection, route_version)) is not None:
            grown.append(row["id"])
        if selection.route.send is Send.HIGHEST_RESOLUTION:
            if (row := _restore(tx, study, selection)) is not None:
                grown.append(row["id"])
            _supersede(tx, study, selection)
    return Planned(tuple(new), tuple(grown))


def fingerprint(instances: Iterable[str]) -> str:
    """SHA-256 of the instances, whatever their order."""
    return hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()


def _promise(
    tx: Transaction, study: StudyIdentity, selection: Selection, route_version: str, ordered_by: str | None
) -> Row | None:
    route = selection.route
    row = tx.one_or_none(
        sql.PLAN,
        **study.columns(),
        **_key(selection),
        instances=sorted(selection.instances),
        content_fingerprint=fingerprint(selection.instances),
        route_version=route_version,
        priority=route.priority,
        max_attempts=route.retry.max_attempts,
        backoff=route.retry.backoff.value,
        initial_delay=route.retry.initial_delay,
        deliver_within=route.deliver_within,
    )
    if row is not None:
        said = {"send": route.send.value, "instances": len(selection.instances), "by": ordered_by}
        record(
            tx,
            Event.DELIVERY_ORDERED if ordered_by else Event.ROUTE_MATCHED,
            {**_key(selection), **row, "source": study.source, "study_id": study.study_id, "attempt_count": 0},
            **said,
        )
    return row


def _grow(tx: Transaction, study: StudyIdentity, selection: Selection, route_version: str) -> Row | None:
    before = tx.one(
        sql.PLANNED,
        **_key(selection),
        source=study.source,
        content_fingerprint=fingerprint(selection.instances),
    )
    if before["status"] == Status.STUCK and before["last_error_class"] == ErrorClass.VANISHED:
        return _return(tx, before, selection, route_version)
    if before["instances"] is None:
        return None
    merged = sorted({*before["instances"], *selection.instances})
    added = len(merged) - len(before["instances"])
    if not added:
        return None
    row = tx.one_or_none(
        sql.GROW,
        id=before["id"],
        instances=merged,
        content_fingerprint=fingerprint(merged),
        route_version=route_version,
        from_states=GROW.from_states,
    )
    if row is not None:
        record(tx, Event.DELIVERY_GREW, row, instances=added)
    return row


def _return(tx: Transaction, before: Row, selection: Selection, route_version: str) -> Row | None:
    """What was stuck because its images were deleted from Orthanc: they were received again."""
    instances = sorted({*before["delivered_instances"], *selection.instances})
    row = tx.one_or_none(
        sql.RETURN,
        id=before["id"],
        instances=instances,
        content_fingerprint=fingerprint(instances),
        route_version=route_version,
        from_states=RETURN.from_states,
    )
    if row is not None:
        record(tx, Event.DELIVERY_REVIVED, row, reason="its images are in Orthanc again")
    return row


def _restore(tx: Transaction, study: StudyIdentity, selection: Selection) -> Row | None:
    row = tx.one_or_none(
        sql.RESTORE,
        **_key(selection),
        source=study.source,
        superseded=Event.DELIVERY_SUPERSEDED.value,
        from_states=RESTORE.from_states,
    )
    if row is not None:
        record(tx, Event.DELIVERY_REVIVED, row, reason="it is the largest image again")
    return row


def _supersede(tx: Transaction, study: StudyIdentity, selection: Selection) -> None:
    rows = tx.all(
        sql.SUPERSEDE,
        **_key(selection),
        source=study.source,
        study_id=study.study_id,
        from_states=SUPERSEDE.from_states,
    )
    for row in rows:
        record(tx, Event.DELIVERY_SUPERSEDED, row, by=selection.resource_id)


def _key(selection: Selection) -> dict[str, str]:
    return {
        "level": selection.level,
        "resource_id": selection.resource_id,
        "route_name": selection.route.name,
        "destination": selection.destination,
    }
