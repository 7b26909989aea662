"""`orthanc routes replay`: what a changed routes.yml would do, seen on the studies that are there."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pacsops.cli.parameters import Since, json_option
from pacsops.cli.progress import Progress
from pacsops.cli.render import Page, count, deliveries, moment, studies, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.orthanc import all_modalities
from pacsops.routes import RouteTable, Source, read_routes, unknown_destinations

if TYPE_CHECKING:
    from pacsops.router.replay import Replay
    from pacsops.routes.replay import Difference


@click.command("replay")
@click.option("--since", type=Since(), default="7d", show_default=True, help="Studies that changed since then.")
@click.option("--file", type=click.Path(path_type=Path), help="The changed file [default: the site's routes.yml].")
@click.option(
    "--limit", type=click.IntRange(0), default=20, show_default=True, help="Studies listed; --json has all."
)
@json_option
@pass_site
def replay(site: Site, since: datetime, file: Path | None, limit: int, as_json: bool) -> None:
    """Show which deliveries a changed routes.yml adds and takes away.

    \b
    Examples:
      orthanc routes replay --file new-routes.yml
      orthanc routes replay --since 30d --file new-routes.yml --json

    Asks the routes in force and those of the file about every study Orthanc holds, and compares. Changes nothing and
    sends nothing: a changed file is for studies to come. Routes of the gateway are left out, and named. When the file
    is in force already, it is compared with the one before it.
    """
    from pacsops.router import replay as over  # noqa: PLC0415 (loads the router for this command alone)

    after = read_routes(file or site.settings.routes_file)
    in_force = desk.routes_in_force(site.db)
    if in_force is not None and in_force.hash == after.hash:
        warn(f"{after.name} is in force since {moment(in_force.loaded_at)}: compared with the file before it.")
        in_force = desk.previous_routes(site.db)
    before = over.table_of(in_force)
    of_orthanc = after.of(Source.ORTHANC)
    unknown = [problem.message for problem in unknown_destinations(of_orthanc, all_modalities(site.orthanc))]
    found = over.replay(site.orthanc, before, after, since, Progress("looked at"))
    if as_json:
        write_json(_as_document(found, before, after, since, unknown))
        return
    if found.not_replayed:
        warn(
            f"Not replayed, being the gateway's: {', '.join(found.not_replayed)}.",
            "`orthanc routes explain <study> --file …` says what they take of one study",
        )
    for message in unknown:
        warn(f"{after.name}: {message}: what it gains would wait.", "`orthanc add-destination`, or correct the file")
    _print(Page(), found, before, after, since, limit)


def _as_document(
    found: Replay, before: RouteTable, after: RouteTable, since: datetime, unknown: list[str]
) -> dict[str, Any]:
    difference = found.difference
    return {
        "since": since,
        "before": before.hash,
        "after": after.hash,
        "file": after.name,
        "studies": found.studies,
        "studies_affected": len(difference.studies),
        "counts": {"gained": len(difference.gained), "lost": len(difference.lost)},
        "gained": [asdict(delivery) for delivery in difference.gained],
        "lost": [asdict(delivery) for delivery in difference.lost],
        "routes": [
            {"route": route, "destination": destination, **asdict(numbers)}
            for (route, destination), numbers in difference.routes.items()
        ],
        "destinations": [{"destination": name, **asdict(sums)} for name, sums in difference.destinations.items()],
        "unknown_destinations": unknown,
        "not_replayed": list(found.not_replayed),
    }


def _print(page: Page, found: Replay, before: RouteTable, after: RouteTable, since: datetime, limit: int) -> None:
    difference = found.difference
    page.title("🔍", f"ROUTES REPLAYED over {studies(found.studies)} (since {moment(since)})")
    page.facts([("Before", _named(before)), ("After", f"{_named(after)}  {after.name}")])
    page.blank()
    if not difference.gained and not difference.lost and not any(difference.destinations.values()):
        page.line("No delivery of these studies is gained or lost.", "✅", indent=0)
        return
    page.table(
        ("ROUTE", "DESTINATION", "BEFORE", "AFTER", "GAINED", "LOST"),
        [
            (route, destination, *(f"{number:,}" for number in (row.before, row.after, row.gained, row.lost)))
            for (route, destination), row in difference.routes.items()
        ],
        whole=("DESTINATION", "BEFORE", "AFTER", "GAINED", "LOST"),
    )
    page.section("WHAT DESTINATIONS GET")
    for name, sums in difference.destinations.items():
        page.line(
            f"{name}: {_sums(sums.studies_gained, sums.images_gained, 'more')}; "
            f"{_sums(sums.studies_lost, sums.images_lost, 'less')}"
            if sums
            else f"{name}: the same images"
        )
    _print_studies(page, difference, limit)
    page.blank()
    page.rule()
    page.line(
        f"{deliveries(len(difference.gained))} gained, {len(difference.lost):,} lost"
        f" in {studies(len(difference.studies))}. Nothing was changed.",
        indent=0,
    )
    if difference.studies:
        first = page.study(difference.studies[0])
        page.actions(
            [
                (f"orthanc routes explain {first}", "Why the routes in force decide so"),
                (f"orthanc routes explain {first} --file {shlex.quote(after.name)}", "Why those of the file do"),
            ]
        )


def _print_studies(page: Page, difference: Difference, limit: int) -> None:
    if not limit or not difference.studies:
        return
    page.section("STUDIES")
    images: dict[str, Counter[tuple[str, str]]] = {}
    for sign, delivered in (("+", difference.gained), ("-", difference.lost)):
        for delivery in delivered:
            said = (f"{sign} {delivery.destination}", delivery.route)
            images.setdefault(delivery.study_id, Counter())[said] += delivery.images
    for study_id in difference.studies[:limit]:
        sent = (f"{sign} ({route}, {count(number, 'image')})" for (sign, route), number in images[study_id].items())
        page.line(f"{page.study(study_id)}  {', '.join(sent)}")
    if len(difference.studies) > limit:
        page.line(f"… and {studies(len(difference.studies) - limit)} more: --limit shows them")


def _named(table: RouteTable) -> str:
    return f"{count(len(table.routes), 'route')} ({table.hash[:12]})" if table.routes else "no routes"


def _sums(of_studies: int, images: int, more: str) -> str:
    if not images:
        return f"nothing {more}"
    return f"{count(images, 'image')} {more}" + (f" ({studies(of_studies)} {more})" if of_studies else "")
