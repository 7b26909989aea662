"""`orthanc metrics`: the site's metrics, for a monitoring to read."""

from __future__ import annotations

import sys
import time

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.render import warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.observe.metrics import graphite, graphite_path, prometheus
from pacsops.orthanc import Orthanc
from pacsops.router.metrics import ORTHANC_TIMEOUT_SECONDS, Collected, collect


@click.command("metrics")
@click.option(
    "--format",
    "form",
    type=click.Choice(["prometheus", "graphite"]),
    help="As Prometheus' text format (the default), or as Graphite's plaintext protocol.",
)
@json_option
@click.pass_context
@pass_site
def metrics(site: Site, ctx: click.Context, *, form: str | None, as_json: bool) -> None:
    """Print the site's metrics, for a monitoring.

    \b
    Examples:
      orthanc metrics
      orthanc metrics --format graphite | nc -q1 graphite.example.org 2003

    For node_exporter's textfile collector, Telegraf, or whatever reads one of the two formats; docs/monitoring.md has
    every metric, the line for each of them, and conditions to be alarmed at. The router can tell Graphite by itself.

    Asks Orthanc and PostgreSQL, and no destination. What could be had is printed whatever does not answer; stderr
    says what does not, and so does orthanc_up.

    Exit code: 0 all of it, 1 part of it, 2 neither Orthanc nor PostgreSQL answers.
    """
    if form and as_json:
        raise click.UsageError("--json is a format of its own: without --format.")
    settings = site.settings
    with Orthanc.of(settings, timeout=ORTHANC_TIMEOUT_SECONDS) as client:
        found = collect(settings, site.any_db, client)
    code = len(found.missing)
    for error in found.missing.values():
        warn(str(error), error.hint)
    if as_json:
        write_json(_as_document(found, code))
    elif form == "graphite":
        sys.stdout.write(graphite(found.samples, prefix=settings.graphite_prefix, at=int(time.time())))
    else:
        sys.stdout.write(prometheus(found.samples))
    ctx.exit(code)


def _as_document(found: Collected, code: int) -> dict[str, object]:
    return {
        "metrics": [
            {
                "name": sample.metric.name,
                "kind": sample.metric.kind,
                "labels": sample.all_labels,
                "value": sample.value,
                "graphite": graphite_path(sample),
            }
            for sample in found.samples
        ],
        "missing": [
            {"service": service, "message": str(error), "hint": error.hint}
            for service, error in found.missing.items()
        ],
        "exit_code": code,
    }
