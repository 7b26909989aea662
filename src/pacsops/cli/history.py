"""`orthanc history`: everything that happened to a study, and how its deliveries stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.render import Page, count, mark, moment, now, timestamp, to_type, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.cli.waiting import reasons
from pacsops.delivery import desk
from pacsops.delivery.model import WAITING, Delivery, Event, Status, StudyRecord, TimelineEvent
from pacsops.errors import OrthancRefused, OrthancUnreachable, UnknownStudy

SIGNS: Mapping[Status, str] = {
    Status.PENDING: "⏳",
    Status.SENDING: "📤",
    Status.SENT: "📤",
    Status.SUCCESS: "✅",
    Status.FAILED: "⏳",
    Status.STUCK: "❌",
    Status.SKIPPED: "⏭",
    Status.CANCELLED: "🚫",
}


@click.command("history")
@click.argument("study")
@json_option
@pass_site
def history(site: Site, study: str, as_json: bool) -> None:
    """Show the routing history of a study.

    \b
    Examples:
      orthanc history 6b9e19d9-6209
      orthanc history ACC-2026-0815 --json

    STUDY is an Orthanc identifier or its first characters, a StudyInstanceUID or an accession number.
    """
    studies = _find(site, study)
    ids = tuple(each.study_id for each in studies)
    events = desk.timeline(site.db, ids)
    deliveries = desk.deliveries(site.db, study_id=ids)
    if as_json:
        write_json(
            {
                "study": asdict(studies[0]),
                "studies": [asdict(each) for each in studies],
                "timeline": [asdict(event) for event in events],
                "deliveries": [delivery.as_dict() for delivery in deliveries],
            }
        )
        return
    busy = [delivery for delivery in deliveries if delivery.status in WAITING]
    why = reasons(busy, desk.destination_health(site.db) if busy else {}, now())
    _print(Page(), studies, events, deliveries, why, said=study)


def _find(site: Site, name: str) -> tuple[StudyRecord, ...]:
    """The study as Orthanc and as the gateway know it.

    Raises:
        UnknownStudy: nobody knows it, or only Orthanc does so far.
        AmbiguousStudy
    """
    try:
        return desk.find_studies(site.db, name)
    except UnknownStudy:
        with suppress(OrthancUnreachable, OrthancRefused):
            if site.orthanc.lookup(name):
                raise UnknownStudy(
                    f"Orthanc holds {name!r}, the router has not taken it up yet",
                    hint="ask again in a few seconds; `orthanc status` says whether the router runs,"
                    " `orthanc reconcile` takes it up now",
                ) from None
        raise


def _print(
    page: Page,
    studies: Sequence[StudyRecord],
    events: Sequence[TimelineEvent],
    deliveries: Sequence[Delivery],
    why: Mapping[int, str],
    *,
    said: str,
) -> None:
    study = studies[0]
    sender = {each.source: each.sender_aet for each in studies}
    page.title("📋", f"ROUTING HISTORY: {page.study(study.study_id)}")
    page.section("STUDY INFO")
    page.facts(_about(studies))
    page.section("TIMELINE")
    for event in events:
        sign, headline, details = EVENTS[event.event](event, event.detail)
        if event.event is Event.STUDY_RECEIVED:
            details = [f"Source: {aet}" for aet in [sender.get(event.source)] if aet]
        if event.event in _OF_A_SOURCE and (event.source != "orthanc" or len(studies) > 1):
            details = [f"By: {_SOURCES[event.source]}", *details]
        page.line(f"{timestamp(event.at)}  {mark(sign)}{headline}")
        for detail in details:
            page.line(detail, indent=23)
    if not events:
        page.line("nothing recorded")
    page.section("CURRENT STATE")
    page.records(
        ("NO", "DESTINATION", "STATE", "SENT", "ROUTE", ""),
        [
            (
                str(delivery.id),
                delivery.destination,
                f"{SIGNS[delivery.status]} {delivery.status.upper()}",
                f"{delivery.delivered_count}/{delivery.instance_count}",
                delivery.route,
                why.get(delivery.id) or _outcome(delivery),
            )
            for delivery in deliveries
        ],
        whole=("NO", "DESTINATION", "STATE", "SENT"),
        indent=2,
    )
    if not deliveries:
        page.line("no route sends this study anywhere")
    page.blank()
    page.rule()
    page.actions(_ways_on(to_type(study.study_id, said), deliveries))


_OF_A_SOURCE = {Event.STUDY_RECEIVED, Event.STUDY_UNREADABLE, Event.STUDY_DELETED, Event.ROUTE_NO_MATCH}
"""What Orthanc and the gateway each say of a study that both have."""
_SOURCES = {"orthanc": "Orthanc", "gateway": "the gateway"}


def _about(studies: Sequence[StudyRecord]) -> list[tuple[str, str]]:
    study = studies[0]
    routes = dict.fromkeys(route for each in studies for route in each.matched_routes)
    patient = study.patient_name or "–"
    unmatched = "none matched" if study.evaluated_at else "not evaluated yet"
    rows = [
        ("Patient", f"{patient} (MRN: {study.patient_id})" if study.patient_id else patient),
        ("Study", study.study_description or "–"),
        ("Date", study.study_date.isoformat() if study.study_date else "–"),
        ("Images", count(max(each.instance_count for each in studies), "instance")),
        ("Study UID", study.study_uid or "–"),
        ("Accession", study.accession_number or "–"),
        *([("Orthanc id", study.study_id)] if study.source == "orthanc" else []),
        ("Routes", ", ".join(routes) or unmatched),
    ]
    if [each.source for each in studies] != ["orthanc"]:
        rows.append(("Held by", " and ".join(_SOURCES[each.source] for each in studies)))
    if study.deleted_at:
        rows.append(("Deleted", f"{timestamp(study.deleted_at)}: Orthanc no longer holds it"))
    return rows


def _outcome(delivery: Delivery) -> str:
    if delivery.status is Status.STUCK:
        return f"{count(delivery.attempt_count, 'attempt')}: {delivery.last_error or 'no reason recorded'}"
    if delivery.status is Status.SUCCESS and delivery.completed_at:
        return f"delivered {moment(delivery.completed_at)}{_proof(delivery)}"
    return delivery.last_error or "" if delivery.status is Status.FAILED else ""


def _proof(delivery: Delivery) -> str:
    """What is known of it since."""
    if delivery.verified_at:
        return f", verified {moment(delivery.verified_at)}"
    return f", not verified: {delivery.verify_error}" if delivery.verify_error else ""


def _ways_on(study: str, deliveries: Sequence[Delivery]) -> list[tuple[str, str]]:
    states = {delivery.status for delivery in deliveries}
    ways = []
    if states & {Status.STUCK, Status.FAILED}:
        ways.append(("orthanc failures", "What is wrong, by cause, and what mends it"))
        ways.append((f"orthanc retry {study}", "Retry failed routing"))
    if states & {*WAITING, Status.STUCK}:
        ways.append((f"orthanc skip {study} --reason …", "Mark as skipped"))
    if states & {Status.SKIPPED, Status.CANCELLED, Status.SUCCESS}:
        ways.append((f"orthanc retry {study} --force", "Send again what was sent, skipped or cancelled"))
    ways.append((f"orthanc routes explain {study}", "Why each route takes it or not"))
    return ways


# ── the timeline's words ─────────────────────────────────────────────────────────────────────────────────────

_Words = Callable[[TimelineEvent, Mapping[str, Any]], tuple[str, str, list[str]]]
"""Sign, headline and detail lines of one event."""


def _started(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    again = f"RETRY {event.attempt - 1}: " if event.attempt and event.attempt > 1 else ""
    lines = _lines(("Job ID", detail.get("job_id")), ("Images", detail.get("instances")))
    return "📤", f"{again}SENDING TO {event.destination}", lines


def _succeeded(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    took = detail.get("duration_ms")
    lines = _lines(("Images", detail.get("instances")), ("Took", None if took is None else f"{took / 1000:.1f}s"))
    return "✅", f"SUCCESS: delivered to {event.destination}", lines


def _matched(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    send = str(detail.get("send", "study")).replace("_", " ")
    return "🔍", "MATCHED ROUTE", [f'Rule: "{event.route}"', f"Action: Send {send} to {event.destination}"]


def _retry_scheduled(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    return "⏳", f"RETRY SCHEDULED: {event.destination}", _lines(("At", _local(detail.get("next_retry_at"))))


def _stuck(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    return "❌", f"STUCK (needs attention): {event.destination}", []  # the failure above it says why


def _verified(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    how = str(detail.get("method", "")).replace("_", " ").replace("find", "C-FIND")
    return "✅", f"VERIFIED: {event.destination} has it", _lines(("Images", detail.get("instances")), ("By", how))


def _ordered(sign: str, headline: str) -> _Words:
    def words(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
        where = f": {event.destination}" if event.destination else ""
        return (
            sign,
            headline + where,
            _lines(
                ("Reason", detail.get("reason")),
                ("By", detail.get("by")),
                ("Images", detail.get("instances")),
                ("Error", detail.get("error")),
            ),
        )

    return words


def _worker(sign: str, headline: str) -> _Words:
    def words(event: TimelineEvent, detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
        within = detail.get("seconds")
        waited = None if within is None else f"{within:g} s"
        return sign, headline.format(event.destination), _lines(("Pool", detail.get("pool")), ("Waited", waited))

    return words


EVENTS: Mapping[Event, _Words] = {
    Event.STUDY_RECEIVED: _ordered("📥", "RECEIVED"),
    Event.STUDY_UNREADABLE: _ordered("⚠", "CANNOT BE EVALUATED (tried again every minute)"),
    Event.STUDY_DELETED: _ordered("🚫", "DELETED from Orthanc"),
    Event.DELIVERY_ORDERED: _ordered("📤", "ORDERED BY HAND"),
    Event.ROUTE_MATCHED: _matched,
    Event.ROUTE_NO_MATCH: _ordered("🔍", "NO ROUTE MATCHED"),
    Event.DELIVERY_GREW: _ordered("📥", "MORE IMAGES TO SEND"),
    Event.DELIVERY_SUPERSEDED: _ordered("⏭", "SUPERSEDED by a better image"),
    Event.SEND_STARTED: _started,
    Event.SEND_SUCCESS: _succeeded,
    Event.SEND_FAILED: _ordered("❌", "FAILED"),
    Event.SEND_RETRY_SCHEDULED: _retry_scheduled,
    Event.SEND_INTERRUPTED: _ordered("⚠", "INTERRUPTED (does not count as an attempt)"),
    Event.STUDY_STUCK: _stuck,
    Event.DELIVERY_REVIVED: _ordered("🔄", "REVIVED"),
    Event.DELIVERY_VERIFIED: _verified,
    Event.DELIVERY_LACKING: _ordered("❌", "NOT THERE: sent again"),
    Event.DELIVERY_UNVERIFIED: _ordered("⚠", "NOT VERIFIED"),
    Event.DELIVERY_RETRIED: _ordered("🔄", "RETRY ORDERED"),
    Event.DELIVERY_SKIPPED: _ordered("⏭", "SKIPPED"),
    Event.DELIVERY_CANCELLED: _ordered("🚫", "CANCELLED"),
    Event.DESTINATION_UNREACHABLE: _ordered("❌", "DESTINATION DOWN"),
    Event.DESTINATION_SLOW: _ordered("⚠", "DESTINATION SLOW"),
    Event.DESTINATION_RECOVERED: _ordered("✅", "DESTINATION BACK"),
    Event.WORKER_ASSIGNED: _worker("🧠", "GIVEN TO WORKER {}"),
    Event.WORKER_TIMED_OUT: _worker("⏰", "NO RESULT FROM {}: the next worker gets it"),
    Event.WORKERS_EXHAUSTED: _worker("❌", "NO RESULT FROM {}, and no other worker is left"),
    Event.RESULT_RECEIVED: _worker("🧠", "RESULT RECEIVED FROM {}"),
    Event.RECONCILED: _ordered("🔄", "RECONCILED"),
    Event.CONFIG_RELOADED: _ordered("🔄", "ROUTES RELOADED"),
    Event.CONFIG_REJECTED: _ordered("❌", "ROUTES REJECTED"),
}


def _lines(*pairs: tuple[str, object]) -> list[str]:
    return [f"{label}: {value}" for label, value in pairs if value is not None]


def _local(at: object) -> str | None:
    """The timeline keeps moments as ISO 8601 text."""
    return timestamp(datetime.fromisoformat(at)) if isinstance(at, str) else None
