"""Each routes.yml ever met by a service of the site."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery.model import Event, RoutesVersion
from pacsops.delivery.timeline import record_site
from pacsops.routes import Source

_COLUMNS = "hash, text, loaded_at, accepted, problems"


def routes_in_force(database: Database) -> RoutesVersion | None:
    """The newest accepted routes.yml."""
    return _newest(database, "WHERE accepted")


def previous_routes(database: Database) -> RoutesVersion | None:
    """The routes.yml in force before the one that is; None before the second."""
    return _newest(
        database,
        """
        WHERE accepted AND hash <> (SELECT hash FROM routes_version WHERE accepted ORDER BY id DESC LIMIT 1)
        """,
    )


def newest_routes(database: Database) -> RoutesVersion | None:
    """The newest routes.yml met, which may be a rejected one."""
    return _newest(database, "")


def note_routes(
    database: Database, *, hash_: str, text: str, accepted: bool, problems: Sequence[Mapping[str, Any]]
) -> bool:
    """Write down a routes.yml a service has met. False when it is the newest already, with the same verdict."""
    said = json.dumps(list(problems))
    with database.transaction() as tx:
        # A router and a gateway meet the same file within the same second.
        tx.run("LOCK TABLE routes_version IN SHARE ROW EXCLUSIVE MODE")
        newest = tx.one_or_none(f"SELECT {_COLUMNS} FROM routes_version ORDER BY id DESC LIMIT 1")  # noqa: S608
        if newest is not None and (newest["hash"], newest["accepted"]) == (hash_, accepted):
            return False
        tx.run(
            "INSERT INTO routes_version (hash, text, accepted, problems)"
            " VALUES (%(hash)s, %(text)s, %(accepted)s, %(problems)s)",
            hash=hash_,
            # PostgreSQL's text has no NUL; a file with one is never accepted, what is kept of it is for the eye.
            text=text.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            accepted=accepted,
            problems=said,
        )
        event = Event.CONFIG_RELOADED if accepted else Event.CONFIG_REJECTED
        record_site(tx, event, route_version=hash_, problems=len(problems))
    return True


def note_problems(database: Database, *, hash_: str, source: Source, problems: Sequence[Mapping[str, Any]]) -> None:
    """What to mind of a source's routes in the routes.yml in force, when a destination they name came or went."""
    with database.transaction() as tx:
        tx.run(
            """
            WITH told AS (
                SELECT id, problems, %(problems)s::jsonb || coalesce(jsonb_agg(problem) FILTER (
                           WHERE coalesce(problem ->> 'source', 'orthanc') <> %(source)s), '[]') AS anew
                  FROM routes_version
                  LEFT JOIN LATERAL jsonb_array_elements(problems) AS problem ON true
                 WHERE id = (SELECT max(id) FROM routes_version WHERE accepted) AND hash = %(hash)s
                 GROUP BY id
            )
            UPDATE routes_version v SET problems = told.anew FROM told
             WHERE v.id = told.id AND NOT (told.anew @> told.problems AND told.problems @> told.anew)
            """,
            hash=hash_,
            source=source,
            problems=json.dumps(list(problems)),
        )


def _newest(database: Database, where: str) -> RoutesVersion | None:
    with database.transaction() as tx:
        row = tx.one_or_none(f"SELECT {_COLUMNS} FROM routes_version {where} ORDER BY id DESC LIMIT 1")  # noqa: S608
    return None if row is None else _version(row)


def _version(row: Row) -> RoutesVersion:
    return RoutesVersion(**{**row, "problems": tuple(row["problems"])})
