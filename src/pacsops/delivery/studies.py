"""The studies a source has told us of, and how far its log of changes has been read.

A study is settled when its last evaluation covered the newest change that touched it. What is unsettled for longer
than a study takes to become stable was lost on the way (Orthanc forgets unstable studies when it restarts) and is
evaluated again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pacsops.database import Database, Transaction
from pacsops.delivery.model import Event
from pacsops.delivery.planner import Planned, StudyIdentity, plan
from pacsops.delivery.timeline import record_study
from pacsops.routes import Selection, Send

_PUT_OFF = """
UPDATE routing_study SET look_again_at = now() + make_interval(secs => %(seconds)s)
 WHERE source = %(source)s AND study_id = %(study_id)s
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last change read. `last_row` is that change: in a restored database another one stands there."""

    seq: int
    last_row: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the routes said of one study as it was at `last_update`."""

    study: StudyIdentity
    as_of_seq: int
    """`arrival_seq` read before the study was fetched."""
    last_update: str
    instance_count: int
    sender_aet: str | None
    matched_routes: tuple[str, ...]
    selections: tuple[Selection, ...]
    route_version: str
    whole: bool = True
    """False: more of the study is expected, so that no route matched is no news yet."""
    trouble: str | None = None
    """What of it could not be evaluated."""


def cursor(database: Database, source: str = "orthanc") -> Cursor | None:
    """Where to read on; None before the first time."""
    with database.transaction() as tx:
        row = tx.one_or_none("SELECT seq, last_row FROM feed_cursor WHERE source = %(source)s", source=source)
    return None if row is None else Cursor(row["seq"], row["last_row"])


def begin(database: Database, at: Cursor, *, look_back: float, source: str = "orthanc") -> None:
    """Read from `at` on. What was last touched more than `look_back` seconds ago is not routed by itself: a router
    newly set before a full archive must not send it all."""
    with database.transaction() as tx:
        tx.run(
            """
            INSERT INTO feed_cursor (source, seq, last_row, routes_from)
            VALUES (%(source)s, %(seq)s, %(last_row)s, now() - make_interval(secs => %(look_back)s))
            ON CONFLICT DO NOTHING
            """,
            source=source,
            seq=at.seq,
            last_row=json.dumps(at.last_row) if at.last_row else None,
            look_back=look_back,
        )


def routes_from(database: Database, source: str = "orthanc") -> datetime | None:
    """The moment before which untouched studies are not routed by themselves; None before the first time."""
    with database.transaction() as tx:
        row = tx.one_or_none("SELECT routes_from FROM feed_cursor WHERE source = %(source)s", source=source)
    return None if row is None else row["routes_from"]


def advance(tx: Transaction, to: Cursor, source: str = "orthanc") -> None:
    """Move the cursor forward, in the transaction of what was planned from it. It never moves back here."""
    tx.run(
        """
        INSERT INTO feed_cursor (source, seq, last_row) VALUES (%(source)s, %(seq)s, %(last_row)s)
        ON CONFLICT (source) DO UPDATE SET seq = excluded.seq, last_row = excluded.last_row, updated_at = now()
         WHERE feed_cursor.seq < excluded.seq
        """,
        source=source,
        seq=to.seq,
        last_row=json.dumps(to.last_row) if to.last_row else None,
    )


def start_over(database: Database, seen: Cursor, at: Cursor, source: str = "orthanc") -> bool:
    """The source's database was replaced: read on from `at` and let a scan find what changed.

    Guarded by what was `seen`; False when another router did it first.
    """
    with database.transaction() as tx:
        moved = tx.run(
            """
            UPDATE feed_cursor
               SET seq = %(seq)s, last_row = %(last_row)s, scanned_at = NULL, updated_at = now()
             WHERE source = %(source)s AND seq = %(seen)s
            """,
            source=source,
            seen=seen.seq,
            seq=at.seq,
            last_row=json.dumps(at.last_row) if at.last_row else None,
        )
        if moved:
            # The numbering began anew; what changed, the scan finds by comparing LastUpdate.
            tx.run(
                """
                UPDATE routing_study
                   SET arrival_seq = 0, evaluated_seq = CASE WHEN evaluated_seq < arrival_seq THEN -1 ELSE 0 END
                 WHERE source = %(source)s AND (arrival_seq > %(seq)s OR evaluated_seq > %(seq)s)
                """,
                source=source,
                seq=at.seq,
            )
    return moved > 0


def arrived(tx: Transaction, study: StudyIdentity, seq: int) -> bool:
    """A change touched the study: it is unsettled until an evaluation covers `seq`. True: it was not known before."""
    row = tx.one_or_none(
        """
        INSERT INTO routing_study AS s (source, study_id, study_uid, accession_number, patient_name, patient_id,
                                        study_description, study_date, arrival_seq)
        VALUES (%(source)s, %(study_id)s, %(study_uid)s, %(accession_number)s, %(patient_name)s, %(patient_id)s,
                %(study_description)s, %(study_date)s, %(seq)s)
        ON CONFLICT (source, study_id) DO UPDATE
           SET arrival_seq = greatest(s.arrival_seq, excluded.arrival_seq), arrived_at = now(), deleted_at = NULL
         WHERE s.arrival_seq < excluded.arrival_seq OR s.deleted_at IS NOT NULL
        RETURNING (xmax = 0) AS new
        """,
        seq=seq,
        **study.columns(),
    )
    new = row is not None and bool(row["new"])
    if new:
        record_study(tx, Event.STUDY_RECEIVED, study.source, study.study_id)
    return new


def arrival_seqs(database: Database, study_ids: Collection[str], source: str = "orthanc") -> dict[str, int]:
    """The newest change known of each study, to be read before the study itself is."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT study_id, arrival_seq FROM routing_study WHERE source = %(source)s AND study_id = ANY (%(ids)s)",
            source=source,
            ids=list(study_ids),
        )
    return {row["study_id"]: row["arrival_seq"] for row in rows}


def evaluated(tx: Transaction, evaluation: Evaluation) -> Planned:
    """Write down an evaluation and promise what it selected."""
    study = evaluation.study
    arrived(tx, study, evaluation.as_of_seq)
    before = tx.one(
        "SELECT matched_routes, evaluated_at, evaluated_seq FROM routing_study"
        " WHERE source = %(source)s AND study_id = %(study_id)s FOR UPDATE",
        source=study.source,
        study_id=study.study_id,
    )
    if before["evaluated_seq"] > evaluation.as_of_seq:
        # Another router saw more of the study. What this one saw is promised, but which image is the largest it
        # does not know.
        seen = [chosen for chosen in evaluation.selections if chosen.route.send is not Send.HIGHEST_RESOLUTION]
        return plan(tx, study, seen, evaluation.route_version)
    planned = plan(tx, study, evaluation.selections, evaluation.route_version)
    news = before["evaluated_at"] is None or before["matched_routes"]
    if evaluation.whole and not evaluation.matched_routes and news:
        record_study(tx, Event.ROUTE_NO_MATCH, study.source, study.study_id)
    tx.run(
        """
        UPDATE routing_study
           SET study_uid = %(study_uid)s, accession_number = %(accession_number)s, patient_name = %(patient_name)s,
               patient_id = %(patient_id)s, study_description = %(study_description)s, study_date = %(study_date)s,
               evaluated_seq = greatest(evaluated_seq, %(as_of_seq)s), evaluated_at = now(),
               last_update = %(last_update)s, instance_count = %(instance_count)s,
               sender_aet = coalesce(sender_aet, %(sender_aet)s),
               matched_routes = %(matched_routes)s, route_version = %(route_version)s,
               trouble = %(trouble)s, deleted_at = NULL
         WHERE source = %(source)s AND study_id = %(study_id)s
        """,
        as_of_seq=evaluation.as_of_seq,
        last_update=evaluation.last_update,
        instance_count=evaluation.instance_count,
        sender_aet=evaluation.sender_aet,
        matched_routes=list(evaluation.matched_routes),
        route_version=evaluation.route_version,
        trouble=evaluation.trouble,
        **study.columns(),
    )
    return planned


def deleted(tx: Transaction, study_id: str, source: str = "orthanc") -> None:
    """The source no longer holds the study."""
    gone = tx.run(
        "UPDATE routing_study SET deleted_at = now()"
        " WHERE source = %(source)s AND study_id = %(study_id)s AND deleted_at IS NULL",
        source=source,
        study_id=study_id,
    )
    if gone:
        record_study(tx, Event.STUDY_DELETED, source, study_id)


def unsettled(database: Database, *, older_than: float, most: int, source: str = "orthanc") -> list[str]:
    """Studies that received nothing for `older_than` seconds and wait for an evaluation."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT study_id FROM routing_study
             WHERE evaluated_seq < arrival_seq AND deleted_at IS NULL AND source = %(source)s
               AND arrived_at < now() - make_interval(secs => %(older_than)s) AND look_again_at <= now()
             ORDER BY look_again_at LIMIT %(most)s
            """,
            source=source,
            older_than=older_than,
            most=most,
        )
    return [row["study_id"] for row in rows]


def last_updates(database: Database, study_ids: Collection[str], source: str = "orthanc") -> dict[str, str | None]:
    """Orthanc's LastUpdate of each study when it was last evaluated; absent: never heard of."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT study_id, last_update FROM routing_study"
            " WHERE source = %(source)s AND study_id = ANY (%(ids)s) AND evaluated_at IS NOT NULL",
            source=source,
            ids=list(study_ids),
        )
    return {row["study_id"]: row["last_update"] for row in rows}


def put_off(database: Database, study_id: str, *, seconds: float, source: str = "orthanc") -> None:
    """An unsettled study cannot be evaluated yet: let the others go first."""
    with database.transaction() as tx:
        tx.run(_PUT_OFF, source=source, study_id=study_id, seconds=seconds)


def unreadable(database: Database, study_id: str, reason: str, *, seconds: float, source: str = "orthanc") -> bool:
    """A study cannot be evaluated; look again after `seconds`. False: that is known of it already."""
    with database.transaction() as tx:
        tx.run(_PUT_OFF, source=source, study_id=study_id, seconds=seconds)
        changed = tx.run(
            "UPDATE routing_study SET trouble = %(reason)s WHERE source = %(source)s AND study_id = %(study_id)s"
            " AND trouble IS DISTINCT FROM %(reason)s",
            source=source,
            study_id=study_id,
            reason=reason,
        )
        if changed:
            record_study(tx, Event.STUDY_UNREADABLE, source, study_id, error=reason)
    return changed > 0


def scan_is_due(database: Database, *, every: float, source: str = "orthanc") -> bool:
    """Whether the last complete reconciliation scan is more than `every` seconds ago, or never was."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT scanned_at IS NULL OR scanned_at < now() - make_interval(secs => %(every)s) AS due"
            " FROM feed_cursor WHERE source = %(source)s",
            every=every,
            source=source,
        )
    return row is not None and bool(row["due"])


def scanned(database: Database, source: str = "orthanc") -> None:
    """A reconciliation scan went through."""
    with database.transaction() as tx:
        tx.run("UPDATE feed_cursor SET scanned_at = now() WHERE source = %(source)s", source=source)
