"""`orthanc status`: one look at everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from pacsops.cli.health import Health, Issue, examine, for_how_long
from pacsops.cli.parameters import json_option
from pacsops.cli.render import Page, count, deliveries, lasting, moment, size, studies, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.cli.study_status import study_status
from pacsops.cli.watch import watch
from pacsops.delivery.nightly import Reconciliation

_SIGNS = {"running": "✅", "down": "❌", "refused": "❌", "silent": "❌", "never ran": "❌"}


@click.command("status")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Only show issues; nothing when all is well.")
@click.option("--watch", "-w", "watching", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.5, 3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: how often.",
)
@click.option("--study", metavar="STUDY", help="Each image of this study instead, and what became of it.")
@click.pass_context
@pass_site
def status(
    site: Site,
    ctx: click.Context,
    *,
    as_json: bool,
    quiet: bool,
    watching: bool,
    interval: float,
    study: str | None,
) -> None:
    """Show system status and health.

    \b
    Examples:
      orthanc status
      orthanc status --quiet || echo "look at the PACS"
      orthanc status --watch --interval 2
      orthanc status --study 1.2.840.113619.2.55.3 --json

    Asks Orthanc and PostgreSQL and takes what the router knows of the destinations; whatever does not answer is
    an issue, the rest is shown all the same.

    With --study: an Orthanc identifier or its first characters, a StudyInstanceUID or an accession number; each of
    its images is queued, sending, sent or failed (or unrouted, where no route takes it).

    Exit code: 0 healthy, 1 warnings, 2 errors; with --watch that of the last look; with --study 1 while an image
    waits, 2 when one failed.
    """
    if study is not None:
        if watching or quiet:
            raise click.UsageError("--study is asked once: without --watch and --quiet.")
        ctx.exit(study_status(site, study, as_json=as_json))
    if watching:
        if as_json:
            raise click.UsageError("--watch is for people; ask again and again for --json.")
        ctx.exit(watch(lambda page: _look(site, page, quiet=quiet), every=interval))
    health = examine(site)
    if as_json:
        write_json(as_document(health))
    elif quiet:
        _print_issues(Page(), health.issues)
    else:
        _print(Page(), health)
    ctx.exit(health.exit_code)


def _look(site: Site, page: Page, *, quiet: bool) -> int:
    health = examine(site)
    if quiet and health.issues:
        _print_issues(page, health.issues)
    elif quiet:
        page.line("All is well.", "✅", indent=0)
    else:
        _print(page, health)
    return health.exit_code


def as_document(health: Health) -> dict[str, Any]:
    """What --json prints."""
    rules, rejected = health.rules, health.rejected
    return {
        "services": health.services,
        "storage": health.storage,
        "routing": asdict(health.routing) if health.routing else {},
        "overdue": [asdict(level) for level in health.overdue],
        "reconciled": asdict(health.reconciled) if health.reconciled else None,
        "unverified": [asdict(group) for group in health.unverified],
        "destinations": [destination.as_dict() for destination in health.destinations],
        "routes": {
            "hash": rules.table.hash if rules else None,
            "in_force_since": rules.since if rules else None,
            "count": len(rules.table.routes) if rules else 0,
            "rejected": {"hash": rejected.hash, "at": rejected.loaded_at, "problems": list(rejected.problems)}
            if rejected
            else None,
        },
        "issues": [asdict(issue) for issue in health.issues],
        "exit_code": health.exit_code,
    }


def _print(page: Page, health: Health) -> None:
    page.title("🏥", "ORTHANC STATUS")
    page.blank()
    page.side_by_side(
        ("SERVICES", [(name, _service(service)) for name, service in health.services.items()]),
        ("STORAGE", _storage(health.storage)),
    )
    if health.routing is not None:
        page.section("ROUTING (last 24 hours)")
        _print_routing(page, health)
    if health.destinations:
        page.section("DESTINATIONS")
        page.table(
            ("", "", "", ""),
            [
                (
                    destination.name,
                    destination.shown,
                    f"last success: {destination.last_success}",
                    destination.owed,
                )
                for destination in health.destinations
            ],
            indent=2,
        )
    page.section("ROUTES")
    page.line(_routes(health))
    page.blank()
    page.rule()
    _print_issues(page, health.issues)
    if not health.issues:
        page.line("All is well.", "✅", indent=0)


def _print_routing(page: Page, health: Health) -> None:
    counts = health.routing
    assert counts is not None
    oldest = counts.oldest_pending_seconds
    rows = [
        ("📥", "Received", studies(counts.received)),
        ("🔍", "Matched a route", studies(counts.matched)),
        ("✅", "Completed", studies(counts.completed)),
        ("❌", "Failed attempts", studies(counts.failed)),
        ("⏳", "Pending", studies(counts.pending_studies) + (f", oldest {lasting(oldest)}" if oldest else "")),
        ("⚠", "Stuck", studies(counts.stuck_studies)),
    ]
    if health.overdue:
        late = sum(level.deliveries for level in health.overdue)
        rows.append(("⏰", "Overdue", f"{deliveries(late)}, longest {lasting(health.overdue[0].late_seconds)}"))
    if health.reconciled:
        rows.append(("🔄", "Reconciled", _reconciled(health.reconciled)))
    for sign, label, value in rows:
        page.line(f"{label + ':':<18}{value}", sign)


def _reconciled(last: Reconciliation) -> str:
    result = last.result
    asked = f", {deliveries(result['asked'])} asked about" if result["asked"] else ""
    mended = f", {result['planned'] + result['lacking']:,} mended" if result["planned"] or result["lacking"] else ""
    return f"{moment(last.finished_at)}: {studies(result['scanned'])} compared{asked}{mended or ', nothing missing'}"


def _print_issues(page: Page, issues: list[Issue]) -> None:
    for issue in sorted(issues, key=lambda issue: issue.severity):  # errors first
        page.line(issue.message, "❌" if issue.severity == "error" else "⚠", indent=0)
        page.line(f"→ {issue.hint}", indent=3)


def _service(service: Mapping[str, Any]) -> str:
    said = f"{_SIGNS[service['state']]} {service['state']}"
    if service["state"] != "running":
        return said
    version = f" {service['version'].split(' ')[0]}" if service.get("version") else ""
    answers = f" ({service['answers_ms']} ms)" if "answers_ms" in service else ""
    return said + version + answers + for_how_long(service.get("since"))


def _storage(storage: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if "studies" in storage:
        rows.append(("DICOM:", f"{studies(storage['studies'])} ({size(storage['dicom_bytes'])})"))
    if "database_bytes" in storage:
        rows.append(("Database:", size(storage["database_bytes"])))
    if "free_bytes" in storage:
        rows.append(("Free:", f"{size(storage['free_bytes'])} of {size(storage['total_bytes'])}"))
    if "spool_free_bytes" in storage:
        rows.append(("Spool:", f"{size(storage['spool_free_bytes'])} free"))
    return rows or [("–", "unknown")]


def _routes(health: Health) -> str:
    rules = health.rules
    if rules is None:
        return "❌ none in force" if health.routing else "– unknown"
    what = f"{count(len(rules.table.routes), 'route')} ({rules.table.hash[:12]})"
    if rules.since is None:
        return f"⚠ {what} in the file; {rules.doubt}"
    return f"✅ {what} in force since {moment(rules.since)}"
