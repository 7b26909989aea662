"""`orthanc show-stuck` and `orthanc show-pending`: what needs somebody, and what only needs time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from pacsops.cli.parameters import Since, destination_option, json_option
from pacsops.cli.render import Page, ago, deliveries, now, studies, to_type, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.cli.waiting import reasons
from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import GATEWAY, ROUTER, Beat
from pacsops.delivery.model import OPEN, WAITING, Delivery, ErrorClass, Status

_UNANSWERED = frozenset(
    {ErrorClass.REFUSED, ErrorClass.UNREACHABLE, ErrorClass.TIMEOUT, ErrorClass.REJECTED_ASSOCIATION}
)


@click.command("show-stuck")
@json_option
@destination_option
@click.option("--since", type=Since(), help="Only what got stuck since then: 24h, 7d, 2026-02-03.")
@pass_site
def show_stuck(site: Site, as_json: bool, destination: str | None, since: datetime | None) -> None:
    """Show studies that failed routing and need attention.

    \b
    Examples:
      orthanc show-stuck
      orthanc show-stuck --destination MODLINK --since 24h
    """
    stuck = desk.deliveries(site.db, statuses={Status.STUCK}, destination=destination, since=since)
    if not stuck:
        _warn_of_name(site.db, destination)
    if as_json:
        write_json({"deliveries": [delivery.as_dict() for delivery in stuck]})
        return
    page = Page()
    if not stuck:
        page.line(_nothing("Nothing is stuck", destination), "✅", indent=0)
        return
    page.title("⚠", "STUCK STUDIES (failed routing, need attention)")
    page.blank()
    page.records(
        ("ID", "PATIENT", "STUDY", "DEST", "FAILED", "ERROR"),
        [
            (
                page.study(delivery.study_id),
                delivery.patient_name or "–",
                delivery.study_description or "–",
                delivery.destination,
                f"{delivery.attempt_count}x",
                delivery.last_error or "–",
            )
            for delivery in stuck
        ],
        whole=("ID", "DEST", "FAILED"),
    )
    page.blank()
    page.rule()
    page.line(f"{how_many(stuck)} stuck", indent=0)
    page.blank()
    page.actions(_ways_out(page, stuck))


@click.command("show-pending")
@json_option
@destination_option
@click.option("--overdue", is_flag=True, help="Only what its route wanted done by now, stuck or waiting.")
@pass_site
def show_pending(site: Site, as_json: bool, destination: str | None, overdue: bool) -> None:
    """Show deliveries under way or waiting, and why.

    \b
    Examples:
      orthanc show-pending
      orthanc show-pending --overdue --destination MODLINK
    """
    everything = desk.deliveries(site.db, statuses=OPEN if overdue else WAITING, destination=destination)
    late = desk.deliveries(site.db, statuses=OPEN, destination=destination, overdue=True) if overdue else everything
    waiting = sorted(late, key=lambda delivery: delivery.due_at or delivery.open_since) if overdue else everything
    if not waiting:
        _warn_of_name(site.db, destination)
    why = reasons([*everything, *waiting], desk.destination_health(site.db), now())
    if as_json:
        write_json({"deliveries": [{**d.as_dict(), "waits_for": why[d.id]} for d in waiting]})
    else:
        _print_pending(waiting, why, destination, overdue=overdue)
    if any(delivery.source == "orthanc" for delivery in waiting):
        warn_without_router(ROUTER.newest(site.db))
    if any(delivery.source == "gateway" for delivery in waiting):
        warn_without_gateway(GATEWAY.newest(site.db))


def warn_without_router(beat: Beat | None) -> None:
    """Say on stderr that nothing moves: no router is alive, or what it needs is not."""
    if beat is None:
        warn("No router has run yet: nothing is sent.", "start its service, then `orthanc status`")
    elif not beat.alive:
        warn(
            f"The router last gave a sign of life {ago(beat.beat_at)}: nothing is sent.",
            "start its service again, then `orthanc status`",
        )
    else:
        for trouble in sorted(beat.held_up):
            warn(f"The router is held up: {trouble}.", "`orthanc status` shows what runs")


def warn_without_gateway(beat: Beat | None) -> None:
    """Say on stderr that nothing of the gateway moves: its forwarder is not alive."""
    if beat is None or not beat.alive:
        last = f"last gave a sign of life {ago(beat.beat_at)}" if beat else "has not run yet"
        warn(
            f"The gateway's forwarder {last}: nothing it received is sent.",
            "start its service, then `orthanc status`",
        )


def _print_pending(
    waiting: Sequence[Delivery], why: dict[int, str], destination: str | None, *, overdue: bool
) -> None:
    page = Page()
    if not waiting:
        page.line(_nothing("Nothing is overdue" if overdue else "Nothing waits", destination), "✅", indent=0)
        return
    title = (
        ("⚠", "OVERDUE DELIVERIES (longest first)")
        if overdue
        else ("⏳", "PENDING DELIVERIES (proceed by themselves)")
    )
    page.title(*title)
    page.blank()
    page.records(
        ("ID", "PATIENT", "STUDY", "DEST", "LATE BY" if overdue else "AGE", "WHY IT WAITS"),
        [
            (
                page.study(delivery.study_id),
                delivery.patient_name or "–",
                delivery.study_description or "–",
                delivery.destination,
                ago((overdue and delivery.due_at) or delivery.open_since).removesuffix(" ago"),
                why[delivery.id],
            )
            for delivery in waiting
        ],
        whole=("ID", "DEST", "AGE", "LATE BY"),
    )
    page.blank()
    page.rule()
    page.line(f"{how_many(waiting)} {'overdue' if overdue else 'pending'}", indent=0)
    page.blank()
    first = to_type(waiting[0].study_id)
    page.actions(
        [
            (f"orthanc history {first}", "View its full routing history"),
            *([("orthanc failures", "What is wrong, and what mends it")] if overdue else []),
            (f"orthanc cancel {first} --reason …", "Take the delivery back"),
            (f"orthanc test-destination {waiting[0].destination}", "Ask the destination for a sign of life"),
        ]
    )


def _ways_out(page: Page, stuck: Sequence[Delivery]) -> list[tuple[str, str]]:
    first = to_type(stuck[0].study_id)
    silent = sorted({delivery.destination for delivery in stuck if delivery.last_error_class in _UNANSWERED})
    return [
        ("orthanc failures", "What is wrong, by cause, and what mends it"),
        *((f"orthanc test-destination {name}", "Is it back? Says what its answer means") for name in silent[:3]),
        (f"orthanc retry {first}", "Retry routing for this study"),
        ("orthanc retry --all", "Retry all stuck studies"),
        (f"orthanc skip {first} --reason …", "Mark as skipped (won't retry)"),
        (f"orthanc history {first}", "View full routing history"),
    ]


def unheard_of(database: Database, destination: str) -> str | None:
    """That no delivery ever went to a destination of this name, and which name may be meant; None: some did."""
    known = desk.destination_health(database)
    if destination in known:
        return None
    meant = [name for name in known if name.casefold() == destination.casefold()]
    return f"no delivery was ever meant for {destination}" + (f"; did you mean {meant[0]}?" if meant else "")


def _warn_of_name(database: Database, destination: str | None) -> None:
    if destination and (unheard := unheard_of(database, destination)):
        warn(f"{unheard[0].upper()}{unheard[1:]}", "`orthanc destinations` lists the names")


def how_many(rows: Sequence[Delivery]) -> str:
    distinct = len({delivery.study_id for delivery in rows})
    return studies(distinct) + (f" ({deliveries(len(rows))})" if len(rows) != distinct else "")


def _nothing(what: str, destination: str | None) -> str:
    return f"{what} for {destination}." if destination else f"{what}."
