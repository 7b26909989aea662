"""Options that several commands share."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import Any

import click

from pacsops.cli.completion import destination_names
from pacsops.cli.render import now

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[datetime]):
    """`30m`, `24h`, `7d`, or a local date or time such as `2026-02-03`; becomes a moment."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:  # Click's signature
        if isinstance(value, datetime):
            return value
        try:
            if age := re.fullmatch(r"(\d{1,6})\s*([smhdw])", value.strip()):
                return now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no age such as 30m, 24h, 7d and no date such as 2026-02-03", param, ctx)


_JSON = "pacsops.cli.json"


def _remember(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[_JSON] = value
    return value


def wants_json(ctx: click.Context) -> bool:
    """Whether the command that runs was given --json."""
    return bool(ctx.meta.get(_JSON))


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_remember, help="Print JSON (schema_version 1) to stdout."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
destination_option = click.option(
    "--destination",
    metavar="NAME",
    shell_complete=destination_names,
    help="Only deliveries to this destination.",
)


def someone_is_there() -> bool:
    """Whether a question can be answered: stdin is a terminal."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool, default: bool = False) -> bool:
    """Ask on a terminal; elsewhere only --yes agrees.

    Raises:
        click.UsageError: there is nobody to ask.
    """
    if yes:
        return True
    if not someone_is_there():
        raise click.UsageError(f"{question} Nobody can answer here: say --yes.")
    return click.confirm(question, default=default, err=True)
