"""From what the routes select to promises in the database, in the caller's transaction.

Planning is idempotent: the same study, planned twice or by two routers, makes the same promises. A promise only
grows: a router with an older view of a study takes nothing away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pacsops.database import Transaction
from pacsops.database.pool import Row
from pacsops.delivery import breaker, sql
from pacsops.delivery.model import Event
from pacsops.delivery.states import GROW, SUPERSEDE
from pacsops.delivery.timeline import record
from pacsops.routes import Selection, Send


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


@dataclass(frozen=True, slots=True)
class Planned:
    """Delivery ids promised now, and those that became pending again or larger."""

    new: tuple[int, ...]
    grown: tuple[int, ...]


def plan(tx: Transaction, study: StudyIdentity, selections: Sequence[Selection], route_version: str) -> Planned:
    """Promise what the routes selected of one study; `route_version` is the hash of the routes.yml that did."""
    new, grown = [], []
    for selection in selections:
        breaker.know(tx, selection.destination)
        row = _promise(tx, study, selection, route_version)
        if row is not None:
            new.append(row["id"])
        elif (row := _grow(tx, study, selection, route_version)) is not None:
            grown.append(row["id"])
        if selection.route.send is Send.HIGHEST_RESOLUTION:
            _supersede(tx, study, selection)
    return Planned(tuple(new), tuple(grown))


def fingerprint(instances: Iterable[str]) -> str:
    """SHA-256 of the instances, whatever their order."""
    return hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()


def _promise(tx: Transaction, study: StudyIdentity, selection: Selection, route_version: str) -> Row | None:
    route = selection.route
    row = tx.one_or_none(
        sql.PLAN,
        **_key(study, selection),
        study_id=study.study_id,
        study_uid=study.study_uid,
        patient_name=study.patient_name,
        patient_id=study.patient_id,
        study_description=study.study_description,
        study_date=study.study_date,
        instances=sorted(selection.instances),
        content_fingerprint=fingerprint(selection.instances),
        route_version=route_version,
        priority=route.priority,
        max_attempts=route.retry.max_attempts,
        backoff=route.retry.backoff.value,
        initial_delay=route.retry.initial_delay,
    )
    if row is not None:
        said = {"send": route.send.value, "instances": len(selection.instances)}
        record(
            tx,
            Event.ROUTE_MATCHED,
            {**_key(study, selection), **row, "study_id": study.study_id, "attempt_count": 0},
            **said,
        )
    return row


def _grow(tx: Transaction, study: StudyIdentity, selection: Selection, route_version: str) -> Row | None:
    before = tx.one(sql.PLANNED, **_key(study, selection), content_fingerprint=fingerprint(selection.instances))
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


def _supersede(tx: Transaction, study: StudyIdentity, selection: Selection) -> None:
    rows = tx.all(sql.SUPERSEDE, **_key(study, selection), study_id=study.study_id, from_states=SUPERSEDE.from_states)
    for row in rows:
        record(tx, Event.DELIVERY_SUPERSEDED, row, by=selection.resource_id)


def _key(study: StudyIdentity, selection: Selection) -> dict[str, str]:
    return {
        "source": study.source,
        "level": selection.level,
        "resource_id": selection.resource_id,
        "route_name": selection.route.name,
        "destination": selection.destination,
    }
