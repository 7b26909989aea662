"""The `pacsops` command: what a service manager starts. Operators use `orthanc`."""

from __future__ import annotations

import sys
from typing import Literal

import click

from pacsops.cli.render import show_error
from pacsops.errors import PacsopsError
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
