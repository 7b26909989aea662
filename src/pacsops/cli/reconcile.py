"""`orthanc reconcile`: find studies in Orthanc that were never routed, and route them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import click

from pacsops.cli.deliveries import warn_without_router
from pacsops.cli.parameters import Since, json_option
from pacsops.cli.progress import Progress
from pacsops.cli.render import Page, deliveries, moment, studies, to_type, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk


@click.command("reconcile")
@click.option("--since", type=Since(), default="7d", show_default=True, help="Studies that changed since then.")
@json_option
@click.pass_context
@pass_site
def reconcile(site: Site, ctx: click.Context, since: datetime, as_json: bool) -> None:
    """Find studies that were never routed, and route them.

    \b
    Examples:
      orthanc reconcile
      orthanc reconcile --since 30d

    Compares Orthanc with what the router knows, as the router itself does from time to time. Nothing is sent twice:
    what was delivered stays delivered.
    """
    from pacsops.router import reconcile as scan  # noqa: PLC0415 (loads the router for this command alone)

    result = scan.reconcile(site.db, site.orthanc, since, Progress("compared"))
    if as_json:
        write_json({"since": since, **asdict(result)})
        ctx.exit(1 if result.unreadable else 0)
    page = Page()
    page.title("🔄", f"RECONCILED (since {moment(since)})")
    page.line(f"{studies(result.scanned)} in Orthanc compared, {deliveries(result.planned)} planned.")
    for study in result.studies:
        page.line(f"orthanc history {to_type(study)}", "🔍")
    if result.planned:
        warn_without_router(desk.router_beat(site.db))
    if result.unreadable:
        warn(
            f"{studies(len(result.unreadable))} could not be read from Orthanc: {', '.join(result.unreadable[:5])}",
            "Orthanc's log says more; the router tries again by itself",
        )
        ctx.exit(1)
