"""Pools of AI workers: which of them gets a study, what came back, and who is next when nothing does.

A study has one worker of a pool at a time (`gateway_assignment`), in turn among those that are there. One that has
no result within the pool's timeout, or has not even taken the study, gives it to the next; each is asked once.
Deliveries to other destinations know nothing of all this and wait for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from pacsops.database import Database, Transaction
from pacsops.database.pool import Row
from pacsops.delivery import sql
from pacsops.delivery.model import Event, Status
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.delivery.states import CANCEL
from pacsops.delivery.timeline import record, record_study
from pacsops.gateway import records
from pacsops.gateway.configuration import Configuration, Pool
from pacsops.gateway.records import SOURCE
from pacsops.observe.logs import EventLog
from pacsops.routes import Backoff, RetryPolicy, Route, Selection, Send
from pacsops.routes.fields import field_named

_LOG = EventLog("gateway")
_MOST: Final = 100
"""Studies given to another worker in one step."""
_FORGOTTEN: Final = "7 days"
"""Nobody waits for a result any longer than this."""


def assign(
    tx: Transaction, configuration: Configuration, study_uid: str, selections: Sequence[Selection]
) -> list[Selection]:
    """Selections for a pool become ones for the worker that has the study, or gets it now; others pass as they are.

    Results are not given to workers: whoever works on its own results never ends.
    """
    assigned = []
    for selection in selections:
        pool = configuration.pools.get(selection.destination)
        if pool is None:
            assigned.append(selection)
        elif originals := _originals(tx, selection):
            member = _holder(tx, pool, study_uid, selection.route.name)
            assigned.append(replace(selection, destination=member, instances=originals))
    return assigned


def original_of(
    tx: Transaction, configuration: Configuration, sender_aet: str | None, tags: Mapping[str, str]
) -> str | None:
    """The StudyInstanceUID an AI result belongs to; None: it is no result.

    Results are what gateway.yml says (`results`). Most carry the UID of the study they are about. One that comes as a
    study of its own belongs to the only study of the same patient and accession number that was given to a worker.

    Args:
        tags: by DICOM keyword.
    """
    if not configuration.results or not _marked(configuration.results, sender_aet, tags):
        return None
    own = tags.get("StudyInstanceUID", "").strip()
    patient, accession = tags.get("PatientID", "").strip(), tags.get("AccessionNumber", "").strip()
    if not patient or not accession or _was_assigned(tx, own):
        return own or None
    others = tx.all(
        """
        SELECT study_id FROM routing_study s
         WHERE source = %(source)s AND accession_number = %(accession)s AND patient_id = %(patient)s
           AND EXISTS (SELECT FROM gateway_assignment a WHERE a.study_uid = s.study_id)
         LIMIT 2
        """,
        source=SOURCE,
        accession=accession,
        patient=patient,
    )
    return others[0]["study_id"] if len(others) == 1 else own or None


def reassign(database: Database, configuration: Configuration) -> int:
    """Take note of results, and give studies whose worker's time ran out to the next one; how many those were.

    To be called every few seconds.
    """
    with database.transaction() as tx:
        _note_results(tx, configuration)
    given = 0
    for pool in configuration.pools.values():
        with database.transaction() as tx:
            late = _expired(tx, pool)
        for study_uid in sorted({each["study_uid"] for each in late}):
            with database.transaction() as tx:
                # As whoever plans does: what comes meanwhile is promised to the worker of before, or to the next.
                records.lock(tx, study_uid)
                given += sum(_pass_on(tx, pool, expired) for expired in _expired(tx, pool, study_uid))
    return given


# ── who has a study ──────────────────────────────────────────────────────────────────────────────────────────


def _holder(tx: Transaction, pool: Pool, study_uid: str, route: str) -> str:
    """The worker that has the study, for this route as well. A study nobody of the pool has is given to one."""
    held = _newest(tx, pool, study_uid)
    if held is None or held["member"] not in pool.members:
        following = _following(tx, pool, study_uid)
        if following is not None:
            _give(tx, pool, study_uid, following["member"], turn=held["turn"] + 1 if held else 1, routes=[route])
            # Whoever else planned the same study at this moment was first, or we were: the row tells.
            held = _newest(tx, pool, study_uid)
    assert held is not None
    if route not in held["routes"]:
        tx.run(
            "UPDATE gateway_assignment SET routes = array_append(routes, %(route)s)"
            " WHERE id = %(id)s AND NOT %(route)s = ANY (routes)",
            id=held["id"],
            route=route,
        )
    member: str = held["member"]
    return member


def _newest(tx: Transaction, pool: Pool, study_uid: str) -> Row | None:
    return tx.one_or_none(
        "SELECT id, member, turn, routes FROM gateway_assignment"
        " WHERE study_uid = %(study_uid)s AND pool = %(pool)s ORDER BY turn DESC LIMIT 1",
        study_uid=study_uid,
        pool=pool.name,
    )


def _following(tx: Transaction, pool: Pool, study_uid: str) -> Row | None:
    """The worker whose turn it is, of those that never had the study: one whose breaker is open comes last."""
    return tx.one_or_none(
        """
        SELECT m.member, coalesce(h.breaker = 'open', false) AS down
          FROM unnest(%(members)s::text[]) WITH ORDINALITY AS m (member, place)
          LEFT JOIN destination_health h ON h.destination = m.member
         WHERE NOT EXISTS (SELECT FROM gateway_assignment a
                            WHERE a.study_uid = %(study_uid)s AND a.pool = %(pool)s AND a.member = m.member)
         ORDER BY down,
                  (SELECT max(a.id) FROM gateway_assignment a WHERE a.pool = %(pool)s AND a.member = m.member)
                      NULLS FIRST,
                  m.place
         LIMIT 1
        """,
        members=list(pool.members),
        study_uid=study_uid,
        pool=pool.name,
    )


def _give(tx: Transaction, pool: Pool, study_uid: str, member: str, *, turn: int, routes: Sequence[str]) -> None:
    row = tx.one_or_none(
        """
        INSERT INTO gateway_assignment (study_uid, pool, turn, member, routes)
        VALUES (%(study_uid)s, %(pool)s, %(turn)s, %(member)s, %(routes)s)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        study_uid=study_uid,
        pool=pool.name,
        turn=turn,
        member=member,
        routes=list(routes),
    )
    if row is not None:
        record_study(tx, Event.WORKER_ASSIGNED, SOURCE, study_uid, destination=member, pool=pool.name)


def _originals(tx: Transaction, selection: Selection) -> tuple[str, ...]:
    """Its instances but the results among them."""
    results = tx.all(
        "SELECT id::text AS id FROM gateway_instance WHERE id = ANY (%(ids)s::bigint[]) AND result_of IS NOT NULL",
        ids=list(selection.instances),
    )
    left_out = {row["id"] for row in results}
    return tuple(instance for instance in selection.instances if instance not in left_out)


# ── what came back ───────────────────────────────────────────────────────────────────────────────────────────


def _marked(marks: Mapping[str, str], sender_aet: str | None, tags: Mapping[str, str]) -> bool:
    for name, value in marks.items():
        keyword = field_named(name).keyword
        found = sender_aet if keyword is None else tags.get(keyword)
        if (found or "").strip() != value.strip():
            return False
    return True


def _was_assigned(tx: Transaction, study_uid: str) -> bool:
    row = tx.one("SELECT EXISTS (SELECT FROM gateway_assignment WHERE study_uid = %(uid)s) AS found", uid=study_uid)
    return bool(row["found"])


def _note_results(tx: Transaction, configuration: Configuration) -> None:
    """The first result of each worker for each study, also of one whose time was over.

    A result is its sender's; one from an AE title that is no worker's, of whoever has the study.
    """
    aet_of = {name: destination.aet for name, destination in configuration.destinations.items()}
    workers = {aet_of[member] for pool in configuration.pools.values() for member in pool.members}
    rows = tx.all(
        """
        SELECT a.id, a.study_uid, a.pool, a.member, i.sender_aet, min(i.recorded_at) AS at,
               NOT EXISTS (SELECT FROM gateway_assignment l
                            WHERE l.study_uid = a.study_uid AND l.pool = a.pool AND l.turn > a.turn) AS holds
          FROM gateway_assignment a
          JOIN gateway_instance i ON i.result_of = a.study_uid AND i.recorded_at >= a.assigned_at
         WHERE a.result_at IS NULL AND a.assigned_at > now() - %(forgotten)s::interval
         GROUP BY a.id, i.sender_aet
        """,
        forgotten=_FORGOTTEN,
    )
    for row in rows:
        sender = (row["sender_aet"] or "").strip()
        if sender != aet_of.get(row["member"]) and (sender in workers or not row["holds"]):
            continue
        first = tx.run(
            "UPDATE gateway_assignment SET result_at = %(at)s WHERE id = %(id)s AND result_at IS NULL",
            id=row["id"],
            at=row["at"],
        )
        if first:
            record_study(
                tx, Event.RESULT_RECEIVED, SOURCE, row["study_uid"], destination=row["member"], pool=row["pool"]
            )
            _LOG.info("result_received", destination=row["member"])


# ── who is next ──────────────────────────────────────────────────────────────────────────────────────────────

# What is being sent and makes progress is not late, however large the study; skipped and cancelled deliveries are an
# operator's word that nothing is to come of them.
_EXPIRED: Final = """
SELECT a.id, a.study_uid, a.member, a.turn, a.routes
  FROM gateway_assignment a
  JOIN LATERAL (
       SELECT bool_or(d.status IN ('pending', 'failed', 'stuck') AND d.open_since < late.at
                      OR d.status IN ('sending', 'sent') AND d.updated_at < late.at) AS untaken,
              bool_and(d.status = 'success') AND max(d.completed_at) < late.at AS silent
         FROM routing_state d, (SELECT now() - make_interval(secs => %(timeout)s) AS at) late
        WHERE d.source = %(source)s AND d.study_id = a.study_uid AND d.destination = a.member
          AND d.route_name = ANY (a.routes) AND d.status NOT IN ('skipped', 'cancelled')
        GROUP BY late.at
       ) clock ON clock.untaken OR clock.silent
 WHERE a.pool = %(pool)s AND a.result_at IS NULL AND a.expired_at IS NULL
   AND (%(study_uid)s::text IS NULL OR a.study_uid = %(study_uid)s)
   AND a.assigned_at BETWEEN now() - interval '7 days' AND now() - make_interval(secs => %(timeout)s)
   AND NOT EXISTS (SELECT FROM gateway_assignment o
                    WHERE o.study_uid = a.study_uid AND o.pool = a.pool
                      AND (o.turn > a.turn OR o.result_at IS NOT NULL))
 ORDER BY a.assigned_at
 LIMIT %(most)s
"""


def _expired(tx: Transaction, pool: Pool, study_uid: str | None = None) -> list[Row]:
    """Who has a study, and for too long; of all studies, or of this one."""
    return tx.all(_EXPIRED, pool=pool.name, timeout=pool.timeout, most=_MOST, source=SOURCE, study_uid=study_uid)


def _pass_on(tx: Transaction, pool: Pool, expired: Row) -> bool:
    """Give a study to the next worker. Where all others are down it stays, and is looked at again."""
    following = _following(tx, pool, expired["study_uid"])
    if following is not None and following["down"]:
        return False
    tx.run("UPDATE gateway_assignment SET expired_at = now() WHERE id = %(id)s", id=expired["id"])
    study_uid, member = expired["study_uid"], expired["member"]
    record_study(
        tx,
        Event.WORKER_TIMED_OUT if following else Event.WORKERS_EXHAUSTED,
        SOURCE,
        study_uid,
        destination=member,
        pool=pool.name,
        seconds=pool.timeout,
    )
    if following is None:
        _LOG.warning("no_result_from_any_worker", destination=member, seconds=pool.timeout)
        return False
    _LOG.warning("worker_timed_out", destination=member, seconds=pool.timeout)
    _give(tx, pool, study_uid, following["member"], turn=expired["turn"] + 1, routes=expired["routes"])
    _hand_over(tx, pool, expired, following["member"])
    return True


def _hand_over(tx: Transaction, pool: Pool, expired: Row, to: str) -> None:
    """The same promises to the next worker; those that the one before has not taken are taken back."""
    deliveries = tx.all(
        """
        SELECT * FROM routing_state
         WHERE source = %(source)s AND study_id = %(study_uid)s AND destination = %(member)s
           AND route_name = ANY (%(routes)s) AND status NOT IN ('skipped', 'cancelled')
         ORDER BY id FOR UPDATE
        """,
        source=SOURCE,
        study_uid=expired["study_uid"],
        member=expired["member"],
        routes=expired["routes"],
    )
    taken_back = tx.all(
        sql.TAKE_BACK,
        ids=[delivery["id"] for delivery in deliveries],
        status=Status.CANCELLED.value,
        from_states=CANCEL.from_states,
    )
    for row in taken_back:
        record(
            tx,
            Event.DELIVERY_CANCELLED,
            row,
            reason=f"not taken within {pool.timeout:g} s: {to} has it",
            by="gateway",
        )
    study = tx.one(
        "SELECT * FROM routing_study WHERE source = %(source)s AND study_id = %(study_uid)s",
        source=SOURCE,
        study_uid=expired["study_uid"],
    )
    identity = StudyIdentity(**{name: study[name] for name in StudyIdentity.__slots__})
    for delivery in deliveries:
        plan(tx, identity, [_selection(delivery, to)], delivery["route_version"])


def _selection(delivery: Row, to: str) -> Selection:
    """What a delivery promised, to another worker, as persistently."""
    route = Route(
        name=delivery["route_name"],
        match=(),
        destinations=(to,),
        priority=delivery["priority"],
        send=Send(delivery["level"]),
        retry=RetryPolicy(
            max_attempts=delivery["max_attempts"],
            backoff=Backoff(delivery["backoff"]),
            initial_delay=delivery["initial_delay"],
        ),
        deliver_within=delivery["deliver_within"],
    )
    return Selection(route, to, delivery["level"], delivery["resource_id"], tuple(delivery["instances"]))
