"""The routes in force: what the router last accepted, or what it would load when none has run yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.errors import DatabaseUnreachable, SchemaMismatch
from pacsops.routes import RouteTable, load_routes, read_routes
from pacsops.settings import Settings


class Known(Protocol):
    """Where routes come from: `db` raises DatabaseUnreachable or SchemaMismatch where there is none to ask."""

    @property
    def settings(self) -> Settings: ...

    @property
    def db(self) -> Database: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Routes and where they come from."""

    table: RouteTable
    since: datetime | None
    """When the router took them; None: read from the file, no router is known to have them."""
    asked: bool = True
    """False: PostgreSQL did not answer, so what is in force is not known."""

    @property
    def doubt(self) -> str | None:
        """Why these may not be the ones in force; None when they are."""
        if self.since is not None:
            return None
        return "no router has taken them yet" if self.asked else "which are in force is not known without PostgreSQL"

    def naming(self, *destinations: str) -> tuple[str, ...]:
        """Names of the routes that send to any of these destinations."""
        return tuple(
            route.name for route in self.table.routes if not set(destinations).isdisjoint(route.destinations)
        )


def rules_in_force(site: Known, *, database_answers: bool | None = None) -> Rules:
    """From PostgreSQL, else from the file. `database_answers`: the caller has found out already.

    Raises:
        RoutesInvalid: neither the database has any, nor is the file readable and valid.
    """
    answers = database_answers is not False
    if answers:
        try:
            accepted = desk.routes_in_force(site.db)
        except (DatabaseUnreachable, SchemaMismatch):
            accepted, answers = None, False
        if accepted is not None:
            return Rules(load_routes(accepted.text), accepted.loaded_at)
    return Rules(read_routes(site.settings.routes_file), None, asked=answers)
