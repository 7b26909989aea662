"""How each image of a study stands: what is promised of it, to whom, and how far that is. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from pacsops.database import Database, Transaction
from pacsops.database.pool import Row
from pacsops.delivery.model import StudyRecord
from pacsops.gateway.records import SOURCE
from pacsops.orthanc.identifiers import instance_id

State = Literal["queued", "sending", "sent", "failed", "unrouted"]
_WORST_FIRST: tuple[State, ...] = ("failed", "sending", "queued", "sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One delivery of one image."""

    source: str
    """Who makes it: the gateway, or the router with what Orthanc holds."""
    delivery_id: int
    route: str
    destination: str
    status: str
    """Of the delivery, which may be about more images."""
    state: State
    """Of this image in it; `sent` also where an operator took the delivery back."""
    delivered: bool
    """The destination has confirmed it."""
    error: str | None
    """The delivery's last one, while the image is not delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStanding:
    """One image. What only the gateway knows is None of those that only Orthanc has."""

    source: str
    instance_id: str
    sop_instance_uid: str | None
    series_uid: str | None
    file: str | None
    """Below the spool."""
    size: int | None
    sender_aet: str | None
    received_at: datetime | None
    in_spool: bool | None
    """False: removed after it was delivered, or missing."""
    duplicate: bool
    """Another content came under its UID before."""
    state: State
    """The worst of its deliveries; `unrouted`: no route has taken it."""
    error: str | None
    deliveries: tuple[Promise, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class UnroutableFile:
    """A file of the spool that is no instance anybody could route."""

    file: str
    reason: str
    found_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """A study's images, those of Orthanc as far as something was promised of them."""

    images: tuple[ImageStanding, ...]
    unreadable: tuple[UnroutableFile, ...]

    def counts(self) -> dict[str, int]:
        """Images by state, the worst first."""
        states = [image.state for image in self.images]
        return {state: states.count(state) for state in (*_WORST_FIRST, "unrouted") if state in states}


def standing(database: Database, studies: Sequence[StudyRecord]) -> Standing:
    """The images of a study, as each of its sources knows it."""
    images: list[ImageStanding] = []
    unreadable: list[Row] = []
    with database.transaction() as tx:
        promises = {study.source: _promises(tx, study) for study in studies}
        for study in studies:
            if study.source != SOURCE:
                continue
            unreadable += _unreadable(tx, study.study_id)
            for row in _received(tx, study.study_id):
                made = promises[SOURCE].get(row["name"], [])
                # What came by the gateway may be in Orthanc, too, and be sent on from there.
                for source in promises.keys() - {SOURCE} if not row["duplicate"] else ():
                    made += promises[source].pop(_in_orthanc(row), [])
                images.append(_image(SOURCE, row, made))
    others = [
        _image(source, _only_promised(name), made)
        for source, by_name in promises.items()
        if source != SOURCE
        for name, made in by_name.items()
    ]
    return Standing((*others, *images), tuple(UnroutableFile(**row) for row in unreadable))


def _promises(tx: Transaction, study: StudyRecord) -> dict[str, list[Promise]]:
    """By the source's identifier of an image."""
    rows = tx.all(
        """
        SELECT id, route_name, destination, status, last_error, instances, delivered_instances, attempt_instances
          FROM routing_state WHERE source = %(source)s AND study_id = %(study)s ORDER BY id
        """,
        source=study.source,
        study=study.study_id,
    )
    found: dict[str, list[Promise]] = {}
    for row in rows:
        delivered, under_way = set(row["delivered_instances"]), set(row["attempt_instances"])
        for name in row["instances"]:
            state = _state(row["status"], delivered=name in delivered, under_way=name in under_way)
            promise = Promise(
                source=study.source,
                delivery_id=row["id"],
                route=row["route_name"],
                destination=row["destination"],
                status=row["status"],
                state=state,
                delivered=name in delivered,
                error=None if state == "sent" else row["last_error"],
            )
            found.setdefault(name, []).append(promise)
    return found


def _state(status: str, *, delivered: bool, under_way: bool) -> State:
    if delivered or status in {"success", "skipped", "cancelled"}:
        return "sent"
    if status in {"failed", "stuck"}:
        return "failed"
    return "sending" if under_way and status in {"sending", "sent"} else "queued"


def _image(source: str, row: Row, promises: Iterable[Promise]) -> ImageStanding:
    deliveries = tuple(promises)
    states = {promise.state for promise in deliveries}
    errors = (promise.error for promise in deliveries if promise.state == "failed" and promise.error)
    missing = "its file is missing from the spool" if row["missing"] else None
    return ImageStanding(
        source=source,
        instance_id=row["name"],
        sop_instance_uid=row["sop_instance_uid"],
        series_uid=row["series_uid"],
        file=row["file"],
        size=row["size"],
        sender_aet=row["sender_aet"],
        received_at=row["received_at"],
        in_spool=row["in_spool"],
        duplicate=row["duplicate"],
        state=next((state for state in _WORST_FIRST if state in states), "unrouted"),
        error=missing or next(errors, None),
        deliveries=deliveries,
    )


def _received(tx: Transaction, study_uid: str) -> list[Row]:
    return tx.all(
        """
        SELECT id::text AS name, study_uid, series_uid, sop_instance_uid, tags ->> 'PatientID' AS patient_id,
               file, size, sender_aet, received_at,
               removed_at IS NULL AND missing_since IS NULL AS in_spool, duplicate_of IS NOT NULL AS duplicate,
               missing_since IS NOT NULL AND removed_at IS NULL AS missing
          FROM gateway_instance WHERE study_uid = %(study)s ORDER BY id
        """,
        study=study_uid,
    )


def _in_orthanc(row: Row) -> str:
    return instance_id(row["patient_id"] or "", row["study_uid"], row["series_uid"], row["sop_instance_uid"])


def _unreadable(tx: Transaction, study_uid: str) -> list[Row]:
    return tx.all(
        "SELECT file, reason, found_at FROM gateway_unreadable WHERE study_uid = %(study)s ORDER BY file",
        study=study_uid,
    )


def _only_promised(name: str) -> Row:
    """Orthanc keeps to itself what an image is called elsewhere."""
    unknown = dict.fromkeys(
        ("sop_instance_uid", "series_uid", "file", "size", "sender_aet", "received_at", "in_spool")
    )
    return {**unknown, "name": name, "duplicate": False, "missing": False}
