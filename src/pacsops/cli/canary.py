"""`orthanc canary`: whether every live route carries a study, tried with synthetic ones."""

from __future__ import annotations

import signal
from dataclasses import asdict

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.progress import Progress
from pacsops.cli.render import Page, count, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.errors import RouterAway
from pacsops.routes import load_routes

_SIGNS = {"delivered": "✅", "decided": "✅", "untried": "⚠", "failed": "❌"}
_MEANS = {
    "delivered": "received, decided and delivered",
    "decided": "received and decided; none of its destinations takes canaries",
    "untried": "not tried",
    "failed": "FAILED",
}


@click.command("canary")
@click.option("--within", type=click.IntRange(1, 3600), default=300, show_default=True, help="Seconds for all of it.")
@click.option("--remove", "only_remove", is_flag=True, help="Only remove what a run that was killed left behind.")
@json_option
@click.pass_context
@pass_site
def canary(site: Site, ctx: click.Context, within: int, only_remove: bool, as_json: bool) -> None:
    """Send a synthetic study through every live route.

    \b
    Examples:
      orthanc canary
      orthanc canary --within 60 --json

    Each enabled route gets a study made for it, with the accession number PACSOPS-CANARY. The router looks at it
    like any study, but delivers it only to destinations that the inventory offers for it (`canary: true`).
    Afterwards, also after Ctrl-C, the studies are removed from Orthanc; what was delivered stays where it went.

    Exit code: 0 every route carried one, 1 some could not be tried, 2 some failed.
    """
    from pacsops.router import canary as flying  # noqa: PLC0415 (loads the router for this command alone)

    if only_remove:
        removed = flying.remove(site.orthanc, site.db)
        if as_json:
            write_json({"removed": removed})
        else:
            Page().line(f"{count(removed, 'canary study', 'canary studies')} removed from Orthanc.", indent=0)
        return
    accepted = desk.routes_in_force(site.db)
    if accepted is None:
        raise RouterAway("no router has taken the routes yet", hint="`orthanc start router`, then `orthanc canary`")
    # Whoever ends it by a signal still has the studies removed.
    signal.signal(signal.SIGTERM, lambda *_: ctx.exit(2))
    progress = Progress("tried")
    flights = flying.fly(
        site.settings, site.orthanc, site.db, load_routes(accepted.text), seconds=float(within), tell=progress.say
    )
    outcomes = {flight.outcome for flight in flights}
    code = 2 if "failed" in outcomes else 1 if "untried" in outcomes else 0
    if as_json:
        write_json({"routes": [asdict(flight) for flight in flights], "exit_code": code})
    else:
        page = Page()
        page.title("🐤", "CANARY")
        for flight in flights:
            where = f": {', '.join(flight.destinations)}" if flight.destinations else ""
            why = f" ({flight.reason})" if flight.reason else ""
            page.line(f"{flight.route}: {_MEANS[flight.outcome]}{where}{why}", _SIGNS[flight.outcome])
    ctx.exit(code)
