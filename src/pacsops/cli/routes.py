"""`orthanc routes`, `routes explain` and `route-status`: what the rules say, why, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pacsops.cli.explaining import Explained, explanations
from pacsops.cli.parameters import Since, json_option
from pacsops.cli.render import Page, ago, count, moment, to_type, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import GATEWAY
from pacsops.doctor.rules import Rules, rules_in_force
from pacsops.errors import (
    DatabaseUnreachable,
    GatewayConfigurationError,
    OrthancRefused,
    OrthancUnreachable,
    SchemaMismatch,
)
from pacsops.gateway.naming import known_names
from pacsops.orthanc import all_modalities
from pacsops.routes import MANUAL, FieldExplanation, Route, RoutesInvalid, Source, When, read_routes
from pacsops.routes.durations import as_text


@click.group("routes", invoke_without_command=True)
@json_option
@click.option("--validate", is_flag=True, help="List every problem of routes.yml; exit code 2 if it has one.")
@click.option("--file", type=click.Path(path_type=Path), help="With --validate: this file instead of the site's.")
@click.pass_context
@pass_site
def routes(site: Site, ctx: click.Context, as_json: bool, validate: bool, file: Path | None) -> None:
    """List routing rules, check them, explain them.

    \b
    Examples:
      orthanc routes
      orthanc routes --validate --file new-routes.yml
      orthanc routes explain 6b9e19d9-6209
    """
    if file is not None and not validate:
        raise click.UsageError("--file goes with --validate.")
    if ctx.invoked_subcommand is not None:
        if validate or as_json:
            raise click.UsageError(f"Say it after the command: orthanc routes {ctx.invoked_subcommand} … --json")
    elif validate:
        ctx.exit(_validate(site, file, as_json=as_json))
    else:
        _list(rules_in_force(site), as_json=as_json)


@routes.command("explain")
@click.argument("study")
@click.option("--file", type=click.Path(path_type=Path), help="By this file's routes instead of those in force.")
@json_option
@pass_site
def explain(site: Site, study: str, file: Path | None, as_json: bool) -> None:
    """Explain why each route takes a study or not.

    \b
    Examples:
      orthanc routes explain 6b9e19d9-6209
      orthanc routes explain ACC-2026-0815 --file new-routes.yml --json

    STUDY is an Orthanc identifier or its first characters, a StudyInstanceUID or an accession number. Asks the
    routes in force about the study as Orthanc holds it now, and those of the gateway about what that received of it;
    sends nothing.
    """
    rules = Rules(read_routes(file), None) if file else rules_in_force(site)
    asked = explanations(site, rules.table, study)
    if as_json:
        write_json(
            {
                "study_id": asked[0].study_id,
                "study_uid": asked[0].study_uid,
                "routes_hash": rules.table.hash,
                "routes": [explanation.as_dict() for each in asked for explanation in each.routes],
            }
        )
        return
    _print_explanations(Page(), rules, asked, study, of_file=file)


@click.command("route-status")
@click.option("--since", type=Since(), default="24h", show_default=True, help="Count from then: 24h, 7d, 2026-02-03.")
@json_option
@pass_site
def route_status(site: Site, since: datetime, as_json: bool) -> None:
    """Show what came of each route recently.

    \b
    Examples:
      orthanc route-status
      orthanc route-status --since 7d
    """
    counts = desk.route_counts(site.db, since)
    in_force = [route.name for route in rules_in_force(site).table.routes]
    former = [name for name in counts if name not in in_force]
    none: dict[str, Any] = {"matched": 0, "success": 0, "waiting": 0, "stuck": 0, "last_matched_at": None}
    rows = [{"route": name, "in_force": name in in_force, **counts.get(name, none)} for name in [*in_force, *former]]
    if as_json:
        write_json({"since": since, "routes": rows})
        return
    page = Page()
    page.title("📋", f"ROUTE STATUS (since {moment(since)})")
    page.blank()
    page.table(
        ("ROUTE", "MATCHED", "DELIVERED", "WAITING", "STUCK", "LAST MATCH"),
        [
            (
                row["route"] + _aside(row),
                str(row["matched"]),
                str(row["success"]),
                str(row["waiting"]),
                str(row["stuck"]),
                ago(row["last_matched_at"]) if row["last_matched_at"] else "never",
            )
            for row in rows
        ],
        whole=("MATCHED", "DELIVERED", "WAITING", "STUCK", "LAST MATCH"),
    )
    page.blank()
    page.rule()
    page.line("Matched counts studies, the others count deliveries; waiting and stuck are now.", indent=0)
    if any(row["stuck"] for row in rows):
        page.advice("Run 'orthanc show-stuck' for what is stuck.")


def _aside(row: dict[str, Any]) -> str:
    if row["in_force"]:
        return ""
    return " (orthanc send)" if row["route"] == MANUAL else " (no longer in routes.yml)"


def _validate(site: Site, file: Path | None, *, as_json: bool) -> int:
    """Print every problem as a compiler does; the exit code."""
    path = file or site.settings.routes_file
    try:
        destinations = frozenset(all_modalities(site.orthanc))
    except (OrthancUnreachable, OrthancRefused) as error:
        warn(f"Destinations were not checked: {error}.")
        destinations = None
    of_gateway = _gateway_destinations(site)
    try:
        table = read_routes(path, destinations=destinations, gateway_destinations=of_gateway)
    except RoutesInvalid as error:
        if as_json:
            problems = [problem.as_dict() for problem in error.problems]
            write_json({"file": str(path), "valid": False, "problems": problems})
        else:
            page = Page()
            for problem in error.problems:
                page.line(str(problem), indent=0)
            warn(f"{path} is not valid: {count(len(error.problems), 'problem')}.")
        return 2
    if as_json:
        valid = {"valid": True, "problems": [], "hash": table.hash, "routes": len(table.routes)}
        checked = {
            "destinations_checked": destinations is not None,
            "gateway_destinations_checked": of_gateway is not None,
        }
        write_json({"file": str(path), **valid, **checked})
        return 0
    if of_gateway is None and table.of(Source.GATEWAY).routes:
        warn(
            "Destinations of the gateway's routes were not checked: no gateway is known.",
            "here there is no gateway.yml, and none has told PostgreSQL what it knows: `orthanc status`",
        )
    Page().line(f"{path} is valid: {count(len(table.routes), 'route')}.", "✅", indent=0)
    return 0


def _gateway_destinations(site: Site) -> frozenset[str] | None:
    """What routes of the gateway may name; None: not known."""
    try:
        return known_names(site.settings, lambda: GATEWAY.newest(site.db))
    except GatewayConfigurationError as error:
        warn(f"Destinations of the gateway's routes were not checked: {error}")
    except (DatabaseUnreachable, SchemaMismatch):
        pass
    return None


def _list(rules: Rules, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "hash": rules.table.hash,
                "in_force_since": rules.since,
                "routes": [_as_dict(route) for route in rules.table.routes],
            }
        )
        return
    page = Page()
    page.title("📋", f"ROUTES ({len(rules.table.routes)}, in order of evaluation)")
    for route in rules.table.routes:
        page.section(route.name + ("" if route.enabled else "  (disabled)"))
        page.facts(_facts(route))
    page.blank()
    page.rule()
    if rules.since is None:
        page.line(f"Read from the file: {rules.doubt}.", "⚠", indent=0)
    else:
        page.line(f"In force since {moment(rules.since)} ({rules.table.hash[:12]}).", indent=0)
    page.actions(
        [
            ("orthanc routes --validate", "Check the file"),
            ("orthanc routes explain <study>", "Why each route takes a study or not"),
            ("orthanc route-status", "What came of each route"),
        ]
    )


_WHEN = {
    When.INSTANCE: "image by image",
    When.SERIES_STABLE: "when a series is whole",
    When.STUDY_STABLE: "when a study is whole",
}


def _facts(route: Route) -> list[tuple[str, str]]:
    when = [f"{field.field.name} {condition}" for field in route.match for condition in field.conditions]
    policy = route.retry
    rows = [
        ("About", route.description),
        ("When", " and ".join(when)),
        ("Of", f"the gateway, {_WHEN[route.when]}" if route.source is Source.GATEWAY else ""),
        ("Send", f"{route.send.replace('_', ' ')} → {', '.join(route.destinations)}"),
        (
            "Retry",
            f"{count(policy.max_attempts, 'attempt')}, {policy.backoff} backoff from {policy.initial_delay:g}s",
        ),
        ("Within", as_text(route.deliver_within) if route.deliver_within else ""),
        ("Priority", f"{route.priority}{', final: later routes are not looked at' if route.final else ''}"),
        ("Sends back", "also to the system the images came from" if route.send_back else ""),
    ]
    return [(label, value) for label, value in rows if value]


def _as_dict(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "description": route.description,
        "enabled": route.enabled,
        "source": route.source,
        "when": route.when if route.source is Source.GATEWAY else None,
        "priority": route.priority,
        "match": {field.field.name: [str(condition) for condition in field.conditions] for field in route.match},
        "send": route.send,
        "destinations": list(route.destinations),
        "retry": {
            "max_attempts": route.retry.max_attempts,
            "backoff": route.retry.backoff,
            "initial_delay": route.retry.initial_delay,
        },
        "deliver_within": route.deliver_within,
        "final": route.final,
        "send_back": route.send_back,
        "line": route.line,
    }


def _print_explanations(
    page: Page,
    rules: Rules,
    asked: Sequence[Explained],
    said: str,
    *,
    of_file: Path | None,
) -> None:
    study = asked[0]
    page.title("🔍", f"ROUTES FOR STUDY {page.study(study.study_id)}")
    page.facts([("Patient", study.patient_name or "–"), ("Study", study.study_description or "–")])
    for source, explanation in [(each.source, explanation) for each in asked for explanation in each.routes]:
        route = explanation.route
        sign = "✅" if explanation.matched else "❌" if explanation.evaluated else "⏭"
        verdict = "matches" if explanation.matched else "does not match" if explanation.evaluated else "not looked at"
        page.blank()
        whose = f"  (of the gateway, {route.when.replace('_', ' ')})" if source is Source.GATEWAY else ""
        page.line(f"{route.name}: {verdict}{whose}", sign, indent=0, style="bold")
        page.line(explanation.reason, indent=3)
        for field in explanation.fields:
            _print_field(page, field, explanation.instances)
        sent: dict[tuple[str, str], int] = {}
        for selection in explanation.selections:
            key = (selection.level, selection.destination)
            sent[key] = sent.get(key, 0) + len(selection.instances)
        for (level, destination), images in sent.items():
            within = f", within {as_text(route.deliver_within)}" if route.deliver_within else ""
            page.line(f"→ {destination}: {count(images, 'image')}, as {level}{within}", indent=3)
    page.blank()
    page.rule()
    if of_file:
        page.line(f"By the routes of {of_file}, which are not in force by this.", indent=0)
    elif rules.since is None:
        page.line(f"By the routes in the file: {rules.doubt}.", "⚠", indent=0)
    typed = to_type(study.study_id, said)
    page.actions(
        [
            (f"orthanc history {typed}", "What was sent so far"),
            (f"orthanc send {typed} <destination>", "Send it by hand"),
        ]
    )


def _print_field(page: Page, field: FieldExplanation, images: int) -> None:
    actual = "absent" if field.actual is None else repr(field.actual)
    for condition in field.conditions:
        held_by = f"{condition.held_by} of {count(images, 'image')}"
        sign = "✅" if condition.held else "❌"
        page.line(f"{field.field} is {actual}; wants {condition.condition} ({held_by})", sign, indent=3)
