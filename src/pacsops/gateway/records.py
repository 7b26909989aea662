"""What the gateway received, as PostgreSQL has it: the rows of its instances and series. SQL only.

Whoever adds to a study or asks the routes about it locks the study's row first. So the ids of its instances grow in
the order in which they become visible, and each evaluation sees all that came before it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from pacsops.database import Database, Transaction
from pacsops.database.pool import Row
from pacsops.delivery.model import Event
from pacsops.delivery.timeline import record_study

SOURCE = "gateway"
_DONE = """
    s.evaluated_seq >= s.arrival_seq AND s.trouble IS NULL
    AND NOT EXISTS (SELECT 1 FROM gateway_series w WHERE w.study_uid = s.study_id AND w.evaluated_at IS NULL)
    AND EXISTS (SELECT 1 FROM routing_state d WHERE d.source = s.source AND d.study_id = s.study_id)
    AND NOT EXISTS (SELECT 1 FROM routing_state d
                     WHERE d.source = s.source AND d.study_id = s.study_id
                       AND (d.status NOT IN ('success', 'skipped', 'cancelled')
                            OR greatest(d.completed_at, d.updated_at) >= now() - make_interval(secs => %(age)s)
                            OR (d.status = 'success' AND (d.verified_at IS NULL OR d.verified_at < d.completed_at)
                                AND (SELECT h.gateway_verify FROM destination_health h
                                      WHERE h.destination = d.destination) <> 'none')))
"""
"""All that routes and people wanted of a study was done, and proved where its destination is asked for a proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One file of the spool, read."""

    file: str
    """Below the spool."""
    size: int
    received_at: datetime
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sender_aet: str | None
    tags: Mapping[str, str | None]
    """DICOM keyword → value; None: looked for, and not there."""
    result_of: str | None = None
    """The study this AI result belongs to."""


_COLUMNS: Final = tuple(each.name for each in fields(Received))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One file of the spool that is no instance anybody could route."""

    file: str
    study_uid: str
    """As its folder says."""
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is written down of one file."""

    id: int
    study_uid: str
    received_at: datetime
    removed: bool
    """Its file was, or is about to be, removed from the spool."""
    missing: bool


def known(tx: Transaction, files: Collection[str]) -> dict[str, Known]:
    """The newest row of each file that has one."""
    rows = tx.all(
        """
        SELECT DISTINCT ON (file) file, id, study_uid, received_at, removed_at IS NOT NULL AS removed,
               missing_since IS NOT NULL AS missing
          FROM gateway_instance
         WHERE study_uid = ANY (%(studies)s) AND file = ANY (%(files)s)
         ORDER BY file, id DESC
        """,
        studies=sorted({file.split("/", 1)[0] for file in files}),
        files=list(files),
    )
    return {row.pop("file"): Known(**row) for row in rows}


def lock(tx: Transaction, study_uid: str) -> bool:
    """Hold the study's row until the transaction ends; False: there is none."""
    return (
        tx.one_or_none(
            "SELECT 1 FROM routing_study WHERE source = %(source)s AND study_id = %(study)s FOR UPDATE",
            source=SOURCE,
            study=study_uid,
        )
        is not None
    )


def insert(tx: Transaction, received: Sequence[Received]) -> list[Row]:
    """Write instances down, the study's row held: `id`, `study_uid` and `series_uid` of those that are new."""
    if not received:
        return []
    rows = tx.all(
        """
        INSERT INTO gateway_instance (study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
                                      file, size, sender_aet, received_at, tags, result_of)
        SELECT study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
               file, size, sender_aet, received_at, tags, result_of
          FROM jsonb_to_recordset(%(rows)s) AS r (
               study_uid text, series_uid text, sop_instance_uid text, sop_class_uid text, transfer_syntax_uid text,
               file text, size bigint, sender_aet text, received_at timestamptz, tags jsonb, result_of text)
            ON CONFLICT (file) WHERE removed_at IS NULL DO NOTHING
        RETURNING id, file, study_uid, series_uid, tags ->> 'Modality' AS modality,
                  tags ->> 'SeriesDescription' AS series_description, received_at
        """,
        rows=json.dumps(
            [{name: getattr(one, name) for name in _COLUMNS} for one in received], default=datetime.isoformat
        ),
    )
    _point_to_first(tx, [row["id"] for row in rows if "~" in row["file"]])
    _touch_series(tx, rows)
    return rows


def _point_to_first(tx: Transaction, ids: Sequence[int]) -> None:
    """Files named `<UID>~2.dcm` hold other bytes under a UID that was there already."""
    if ids:
        tx.run(
            """
            UPDATE gateway_instance d
               SET duplicate_of = (SELECT min(id) FROM gateway_instance o
                                    WHERE o.study_uid = d.study_uid AND o.sop_instance_uid = d.sop_instance_uid
                                      AND o.file NOT LIKE '%%~%%')
             WHERE id = ANY (%(ids)s)
            """,
            ids=list(ids),
        )


def _touch_series(tx: Transaction, rows: Sequence[Row]) -> None:
    """Each series waits anew until nothing has come into it for a while."""
    # In one order everywhere. The clock is read with the row of the study held: not before the evaluation before it.
    series: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: (row["study_uid"], row["series_uid"], row["id"])):
        first = series.setdefault((row["study_uid"], row["series_uid"]), {**row, "instances": 0})
        first["instances"] += 1
        first["received_at"] = min(first["received_at"], row["received_at"])
    for row in series.values():
        tx.run(
            """
            INSERT INTO gateway_series AS s (series_uid, study_uid, modality, series_description, instance_count,
                                             first_received_at, last_received_at)
            VALUES (%(series_uid)s, %(study_uid)s, left(%(modality)s, 16), left(%(series_description)s, 256),
                    %(instances)s, %(received_at)s, clock_timestamp())
            ON CONFLICT (study_uid, series_uid) DO UPDATE
               SET instance_count = s.instance_count + excluded.instance_count,
                   first_received_at = least(s.first_received_at, excluded.first_received_at),
                   last_received_at = excluded.last_received_at, evaluated_at = NULL
            """,
            **row,
        )


def found_again(tx: Transaction, ids: Sequence[int]) -> None:
    """Files that were missing are in the spool again."""
    tx.run("UPDATE gateway_instance SET missing_since = NULL WHERE id = ANY (%(ids)s)", ids=list(ids))


def count(tx: Transaction, study_uid: str) -> int:
    """How many instances of the study were ever received."""
    return int(tx.one("SELECT count(*) AS n FROM gateway_instance WHERE study_uid = %(s)s", s=study_uid)["n"])


def instances(tx: Transaction, study_uid: str, after: int = 0) -> list[Row]:
    """The study's instances with an id above `after`, by id."""
    return tx.all(
        """
        SELECT id, series_uid, sender_aet, tags, file, result_of, removed_at IS NOT NULL AS removed
          FROM gateway_instance WHERE study_uid = %(study)s AND id > %(after)s ORDER BY id
        """,
        study=study_uid,
        after=after,
    )


def add_tags(tx: Transaction, instance_id: int, tags: Mapping[str, str | None]) -> None:
    """More was read of a file, because other routes are in force than when it came."""
    tx.run(
        "UPDATE gateway_instance SET tags = tags || %(tags)s::jsonb WHERE id = %(id)s",
        id=instance_id,
        tags=json.dumps(dict(tags)),
    )


def quiet_studies(database: Database, *, age: float, most: int) -> list[str]:
    """Studies with a series into which nothing came for `age` seconds, and about which no route was asked since."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT study_uid, min(last_received_at) AS since FROM gateway_series
             WHERE evaluated_at IS NULL AND last_received_at <= now() - make_interval(secs => %(age)s)
               AND NOT EXISTS (SELECT 1 FROM routing_study s
                                WHERE s.source = 'gateway' AND s.study_id = study_uid AND s.look_again_at > now())
             GROUP BY study_uid ORDER BY since LIMIT %(most)s
            """,
            age=age,
            most=most,
        )
    return [row["study_uid"] for row in rows]


def quiet_series(tx: Transaction, study_uid: str, *, age: float) -> tuple[frozenset[str], bool]:
    """The series into which nothing came for `age` seconds, and whether these are all; the study's row held."""
    rows = tx.all(
        """
        SELECT series_uid, last_received_at <= clock_timestamp() - make_interval(secs => %(age)s) AS quiet
          FROM gateway_series WHERE study_uid = %(study)s
        """,
        study=study_uid,
        age=age,
    )
    return frozenset(row["series_uid"] for row in rows if row["quiet"]), all(row["quiet"] for row in rows)


def series_evaluated(tx: Transaction, study_uid: str, series: Collection[str]) -> None:
    """The routes that wait for whole series were asked about these."""
    tx.run(
        """
        UPDATE gateway_series SET evaluated_at = clock_timestamp()
         WHERE study_uid = %(study)s AND series_uid = ANY (%(series)s) AND evaluated_at IS NULL
        """,
        study=study_uid,
        series=sorted(series),
    )


def note_unreadable(tx: Transaction, found: Unreadable) -> bool:
    """A file cannot be routed; False: that is known of it already. The study's row is held."""
    changed = tx.run(
        """
        INSERT INTO gateway_unreadable AS u (file, study_uid, reason) VALUES (%(file)s, %(study)s, %(reason)s)
        ON CONFLICT (file) DO UPDATE SET reason = excluded.reason WHERE u.reason <> excluded.reason
        """,
        file=found.file,
        study=found.study_uid,
        reason=found.reason,
    )
    if changed:
        record_study(tx, Event.STUDY_UNREADABLE, SOURCE, found.study_uid, error=found.reason)
    return changed > 0


def readable(tx: Transaction, files: Collection[str]) -> None:
    """These files could be read after all, or are gone."""
    tx.run("DELETE FROM gateway_unreadable WHERE file = ANY (%(files)s)", files=list(files))


def unreadable_files(database: Database) -> list[str]:
    """Every file that could not be read."""
    with database.transaction() as tx:
        return [row["file"] for row in tx.all("SELECT file FROM gateway_unreadable ORDER BY file")]


def trouble(tx: Transaction, study_uid: str) -> str | None:
    """What keeps files of the study from being routed, in a sentence."""
    row = tx.one(
        """
        SELECT (SELECT count(*) FROM gateway_unreadable WHERE study_uid = %(study)s) AS unreadable,
               (SELECT min(reason) FROM gateway_unreadable WHERE study_uid = %(study)s) AS reason,
               (SELECT count(*) FROM gateway_instance
                 WHERE study_uid = %(study)s AND missing_since IS NOT NULL AND removed_at IS NULL) AS missing
        """,
        study=study_uid,
    )
    said = []
    if row["unreadable"]:
        said.append(f"{row['unreadable']} of its files cannot be routed: {row['reason']}")
    if row["missing"]:
        said.append(f"{row['missing']} of its files {'is' if row['missing'] == 1 else 'are'} missing from the spool")
    return "; ".join(said) or None


def tell_trouble(tx: Transaction, study_uid: str) -> None:
    """Write a study's trouble down, or that it is over."""
    tx.run(
        "UPDATE routing_study SET trouble = %(trouble)s WHERE source = %(source)s AND study_id = %(study)s",
        source=SOURCE,
        study=study_uid,
        trouble=trouble(tx, study_uid),
    )


def in_spool(database: Database, *, after: int, most: int) -> list[Row]:
    """Instances whose files should be there, by id: `id`, `study_uid`, `file`, `missing`."""
    with database.transaction() as tx:
        return tx.all(
            """
            SELECT id, study_uid, file, missing_since IS NOT NULL AS missing FROM gateway_instance
             WHERE id > %(after)s AND removed_at IS NULL ORDER BY id LIMIT %(most)s
            """,
            after=after,
            most=most,
        )


def note_missing(tx: Transaction, study_uid: str, ids: Sequence[int]) -> None:
    """Files of the study are gone, and nobody here removed them. The study's row is held."""
    missing = tx.run(
        "UPDATE gateway_instance SET missing_since = now()"
        " WHERE id = ANY (%(ids)s) AND missing_since IS NULL AND removed_at IS NULL",
        ids=list(ids),
    )
    if missing:
        error = f"{missing} of its files {'is' if missing == 1 else 'are'} missing from the spool"
        record_study(tx, Event.STUDY_UNREADABLE, SOURCE, study_uid, error=error)
        tell_trouble(tx, study_uid)


def removable(database: Database, *, keep_days: float, most: int) -> list[str]:
    """Studies with files in the spool that were delivered for good at least so many days ago; see `remove`."""
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT s.study_id FROM routing_study s
             WHERE s.source = 'gateway' AND s.arrived_at < now() - make_interval(secs => %(age)s) AND ({_DONE})
               AND EXISTS (SELECT 1 FROM gateway_instance i WHERE i.study_uid = s.study_id AND i.removed_at IS NULL)
             ORDER BY s.arrived_at LIMIT %(most)s
            """,  # noqa: S608
            age=keep_days * 86400,
            most=most,
        )
    return [row["study_id"] for row in rows]


def remove(tx: Transaction, study_uid: str, *, keep_days: float) -> int:
    """Mark the study's files as removed, if it is still removable; its row is held."""
    return tx.run(
        f"""
        UPDATE gateway_instance i SET removed_at = now()
          FROM routing_study s
         WHERE s.source = 'gateway' AND s.study_id = %(study)s AND i.study_uid = s.study_id AND i.removed_at IS NULL
           AND s.arrived_at < now() - make_interval(secs => %(age)s) AND ({_DONE})
        """,  # noqa: S608
        study=study_uid,
        age=keep_days * 86400,
    )


def removed_files(tx: Transaction, study_uid: str) -> dict[str, datetime]:
    """Each file that was marked as removed and is not in the spool anew, and when it had been received."""
    rows = tx.all(
        """
        SELECT DISTINCT ON (file) file, received_at, removed_at IS NOT NULL AS removed
          FROM gateway_instance WHERE study_uid = %(study)s ORDER BY file, id DESC
        """,
        study=study_uid,
    )
    return {row["file"]: row["received_at"] for row in rows if row["removed"]}
