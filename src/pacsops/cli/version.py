"""`orthanc version`: which versions work together here."""

from __future__ import annotations

from importlib import metadata

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.render import Page, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.database.migrate import pending
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable, SchemaMismatch, SettingsError


@click.command("version")
@json_option
@pass_site
def version(site: Site, as_json: bool) -> None:
    """Show version information.

    \b
    Examples:
      orthanc version
      orthanc version --json

    Of pacsops, and of Orthanc, PostgreSQL and the schema as far as they answer.
    """
    versions = {
        "pacsops": metadata.version("pacsops"),
        "orthanc": _orthanc(site),
        "postgres": _postgres(site),
        "schema": _schema(site),
    }
    if as_json:
        write_json(versions)
    else:
        Page().facts([(name, known or "does not answer") for name, known in versions.items()], indent=0)


def _orthanc(site: Site) -> str | None:
    try:
        return str(site.orthanc.system()["Version"])
    except (OrthancUnreachable, OrthancRefused, SettingsError):
        return None


def _postgres(site: Site) -> str | None:
    try:
        with site.any_db.transaction() as tx:
            return str(tx.one("SELECT current_setting('server_version') AS version")["version"])
    except (DatabaseUnreachable, SettingsError):
        return None


def _schema(site: Site) -> str | None:
    try:
        missing = pending(site.any_db)
    except SchemaMismatch as error:
        return str(error)
    except (DatabaseUnreachable, SettingsError):
        return None
    return f"lacks {', '.join(missing)}" if missing else "current"
