"""`orthanc reconcile`: studies that were never routed, and deliveries whose destination lacks images."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pacsops.cli.deliveries import unheard_of, warn_without_gateway, warn_without_router
from pacsops.cli.parameters import Since, dry_run_option, json_option
from pacsops.cli.progress import Progress
from pacsops.cli.render import Page, count, deliveries, moment, studies, to_type, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk, verification
from pacsops.delivery.heartbeat import GATEWAY, ROUTER
from pacsops.errors import UnknownDestination

if TYPE_CHECKING:
    from pacsops.router.gaps import Gaps
    from pacsops.router.reconcile import ReconcileResult

_LISTED = 20


@click.command("reconcile")
@click.option("--since", type=Since(), default="7d", show_default=True, help="What changed, or arrived, since then.")
@click.option(
    "--destination", metavar="NAME", help="Only ask this destination what it lacks, by C-FIND unless set up."
)
@dry_run_option
@json_option
@click.pass_context
@pass_site
def reconcile(
    site: Site, ctx: click.Context, since: datetime, destination: str | None, dry_run: bool, as_json: bool
) -> None:
    """Find what was never routed or is not where it was sent, and mend it.

    \b
    Examples:
      orthanc reconcile
      orthanc reconcile --since 30d --destination ARCHIVE --dry-run

    Compares Orthanc with what the router knows, and asks each destination that is verified (`orthanc
    add-destination --verify`; `verify` in gateway_destinations) whether it has what it took. What it lacks is sent
    again, nothing else. The router itself does so once a night. The gateway's destinations are asked by the gateway.
    """
    from pacsops.router import gaps as asking  # noqa: PLC0415 (loads the router for this command alone)
    from pacsops.router import reconcile as scanning  # noqa: PLC0415
    from pacsops.router.site import Site as RouterSite  # noqa: PLC0415

    wanted = asking.wanted(site.db)
    progress = Progress("compared")
    found = None
    if destination is None:
        found = scanning.reconcile(site.db, site.orthanc, since, progress, apply=not dry_run)
    else:
        if unheard := unheard_of(site.db, destination):
            raise UnknownDestination(unheard, hint="`orthanc destinations` lists the names")
        methods = {(source, name): method for source, name, method in wanted}
        wanted = [
            (source, destination, methods.get((source, destination), desk.Method.FIND))
            for source in verification.sources(site.db, destination, since) or ["orthanc"]
        ]
    gaps = asking.find_gaps(
        RouterSite(site.orthanc, site.db),
        wanted,
        since,
        apply=not dry_run,
        on_progress=lambda name, asked: progress.say(f"{name} was asked about {deliveries(asked)}…"),
    )
    if as_json:
        _print_json(since, dry_run, found, gaps)
    else:
        _print(Page(), since, dry_run, found, gaps)
    asked_later = {each.source for each in gaps if each.lacking or each.requested}
    if not dry_run and ((found and found.planned) or "orthanc" in asked_later):
        warn_without_router(ROUTER.newest(site.db))
    if not dry_run and "gateway" in asked_later:
        warn_without_gateway(GATEWAY.newest(site.db))
    ctx.exit(1 if (found and found.unreadable) or any(each.unanswered for each in gaps) else 0)


def _print_json(since: datetime, dry_run: bool, found: ReconcileResult | None, gaps: list[Gaps]) -> None:
    nothing = {"scanned": 0, "planned": 0, "studies": [], "unreadable": []}
    write_json(
        {
            "since": since,
            "dry_run": dry_run,
            **(asdict(found) if found else nothing),
            "destinations": [
                {**each.as_dict(), "deliveries": [asdict(gap) for gap in each.lacking]} for each in gaps
            ],
        }
    )


def _print(page: Page, since: datetime, dry_run: bool, found: ReconcileResult | None, gaps: list[Gaps]) -> None:
    page.title("🔄", f"RECONCILED (since {moment(since)})" if not dry_run else f"DRY RUN (since {moment(since)})")
    would = "would be " if dry_run else ""
    if found:
        page.line(f"{studies(found.scanned)} in Orthanc compared, {deliveries(found.planned)} {would}planned.")
        for study in found.studies[:_LISTED]:
            page.line(f"orthanc history {to_type(study)}", "🔍")
        if len(found.studies) > _LISTED:
            page.line(f"… and {studies(len(found.studies) - _LISTED)} more")
    for each in gaps:
        _print_gaps(page, each, dry_run=dry_run)
    if found and not gaps:
        page.line("No destination is verified: `orthanc add-destination --verify find` has one asked what it took.")
    if found and found.unreadable:
        warn(
            f"{studies(len(found.unreadable))} could not be read from Orthanc: {', '.join(found.unreadable[:5])}",
            "Orthanc's log says more; the router tries again by itself",
        )


def _print_gaps(page: Page, gaps: Gaps, *, dry_run: bool) -> None:
    if gaps.requested:
        says = "would be asked" if dry_run else "is asked"
        how = "by storage commitment" if gaps.method is desk.Method.STORAGE_COMMITMENT else "by C-FIND"
        who = "gateway" if gaps.source == "gateway" else "router"
        page.line(
            f"{gaps.destination} {says} about {deliveries(gaps.requested)} {how}; the {who} takes its answers.", "⏳"
        )
        return
    if gaps.source == "gateway":
        page.line(
            f"No delivery of the gateway to {gaps.destination} is to be asked about: the newest are by themselves.",
            "✅",
        )
        return
    lost = f"lacks images of {len(gaps.lacking):,}" if gaps.lacking else "lacks nothing"
    page.line(
        f"{gaps.destination} was asked about {deliveries(gaps.asked)} and {lost}.", "❌" if gaps.lacking else "✅"
    )
    for gap in gaps.lacking[:_LISTED]:
        again = "" if dry_run else ", sent again"
        page.line(f"orthanc history {to_type(gap.study_id)}   {count(gap.images, 'image')}{again}", indent=5)
    if len(gaps.lacking) > _LISTED:
        page.line(f"… and {deliveries(len(gaps.lacking) - _LISTED)} more", indent=5)
    if gaps.gone:
        page.line(f"{deliveries(gaps.gone)}: Orthanc no longer holds all images, so nothing to compare.", indent=5)
    if gaps.unanswered:
        warn(f"{deliveries(gaps.unanswered)} to {gaps.destination} could not be asked about: {gaps.reason}.")
