"""`orthanc db-migrate`: bring pacsops' own database to the schema this version needs."""

from __future__ import annotations

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.render import Page, count, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.database.migrate import migrate


@click.command("db-migrate")
@json_option
@pass_site
def db_migrate(site: Site, as_json: bool) -> None:
    """Bring the database to the schema this version needs.

    \b
    Examples:
      orthanc db-migrate
      orthanc db-migrate --json

    Safe to run again, and on several hosts at once. Orthanc's own index is another database, left alone.
    """
    applied = migrate(site.any_db)
    if as_json:
        write_json({"applied": applied})
        return
    page = Page()
    for name in applied:
        page.line(name, "✅", indent=0)
    page.line(f"{count(len(applied), 'migration')} applied." if applied else "The schema is current.", indent=0)
