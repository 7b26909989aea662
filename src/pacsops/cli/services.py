"""The `pacsops` command: what a service manager starts. Operators use `orthanc`."""

from __future__ import annotations

import sys
from typing import Literal

import click

from pacsops.cli.render import show_error
from pacsops.errors import PacsopsError, SettingsError
from pacsops.settings import Settings


@click.group()
@click.version_option(package_name="pacsops", prog_name="pacsops")
def pacsops() -> None:
    """Run one of this site's services in the foreground."""


@pacsops.command("router")
def router() -> None:
    """Deliver what Orthanc receives, as routes.yml says; ends on SIGTERM.

    \b
    Examples:
      pacsops router
      ORTHANC_ENV=/opt/orthanc/.env pacsops router
    """
    from pacsops.router import service  # noqa: PLC0415 (another service must not load it)

    service.run(Settings.load())


@pacsops.command("worker")
@click.option("--aet", envvar="WORKER_AET", show_envvar=True, required=True, help="Its AE title.")
@click.option("--port", envvar="WORKER_PORT", show_envvar=True, type=click.IntRange(1, 65535), required=True)
@click.option("--listen", envvar="WORKER_LISTEN", show_envvar=True, default="127.0.0.1", show_default=True)
@click.option(
    "--delay-seconds",
    envvar="WORKER_DELAY_SECONDS",
    show_envvar=True,
    type=click.FloatRange(0, 86400),
    default=0.0,
    help="How long it thinks about a study.",
)
def worker(aet: str, port: int, listen: str, delay_seconds: float) -> None:
    """Play an AI worker: take studies, and give a made-up result of each back to the gateway; ends on SIGTERM.

    \b
    Examples:
      pacsops worker --aet AI1 --port 11120
      WORKER_AET=AI1 WORKER_PORT=11120 WORKER_DELAY_SECONDS=12 pacsops worker

    GATEWAY_HOST, GATEWAY_PORT and GATEWAY_AET say where results go.
    """
    from pacsops.dimse import Peer  # noqa: PLC0415 (another service must not load it)
    from pacsops.gateway import ai_worker  # noqa: PLC0415

    settings = Settings.load()
    if not settings.gateway_port:
        raise SettingsError(
            "no gateway is known here: GATEWAY_PORT is not set",
            hint="GATEWAY_HOST, GATEWAY_PORT and GATEWAY_AET, in the environment or the .env, say where results go",
        )
    gateway = Peer(settings.gateway_host, settings.gateway_port, settings.gateway_aet)
    ai_worker.run(aet, listen, port, gateway, delay=delay_seconds)


@pacsops.command("gateway")
@click.option("--part", type=click.Choice(["receiver", "forwarder"]), help="Only this one of its processes.")
def gateway(part: Literal["receiver", "forwarder"] | None) -> None:
    """Receive images by C-STORE and send them on, as gateway.yml and routes.yml say; ends on SIGTERM.

    \b
    Examples:
      pacsops gateway
      pacsops gateway --part receiver
    """
    from pacsops.gateway import service  # noqa: PLC0415 (another service must not load it)

    service.run(Settings.load(), part)


def main() -> None:
    """The console script. Exit code 2 for what the site's administrator can mend."""
    try:
        pacsops.main(prog_name="pacsops")
    except PacsopsError as error:
        show_error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
