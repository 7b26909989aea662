"""PostgreSQL: does it answer, is it ours, does it keep what it was told, has it room for the next client?"""

from __future__ import annotations

from collections.abc import Iterator

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, error, ok, unseen, warning
from pacsops.doctor.site import Site
from pacsops.errors import DatabaseUnreachable, SchemaMismatch
from pacsops.words import lasting, now, size

_MANY, _TOO_MANY = 0.80, 0.95  # of the connections PostgreSQL takes; the router alone needs some ten

_LOSES = {
    "fsync": "a power cut can destroy the database and every delivery in it",
    "full_page_writes": "a power cut can leave pages of the database half written",
    "synchronous_commit": "a power cut takes back what was committed last: deliveries that were done are done again",
}


@check("database", section=Section.DATABASE)
def database(site: Site) -> Iterator[Finding]:
    """Whether PostgreSQL answers and lets us in."""
    try:
        answer = site.postgres
    except DatabaseUnreachable as trouble:
        if site.login_refused(trouble):
            yield error(
                f"{trouble}. It runs, but does not serve us: how deliveries stand is not known.",
                "check POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB in the .env",
                state="refused",
            )
            return
        yield error(
            f"{trouble}. Nothing is routed, and Orthanc, which keeps its index there, takes no images;"
            " what it holds is routed when it is back.",
            "on its host: `orthanc start postgres`, then `orthanc logs --service postgres`",
            state="down",
        )
        return
    version = answer.version.split(" ")[0]
    up = lasting((now() - answer.since).total_seconds())
    yield ok(
        f"PostgreSQL {version} answers, up for {up}", state="running", version=answer.version, since=answer.since
    )


@check("schema", section=Section.DATABASE)
def schema(site: Site) -> Iterator[Finding]:
    """Whether the database has the migrations that this version needs."""
    _ = site.postgres
    try:
        _ = site.schema
    except SchemaMismatch as trouble:
        yield error(f"{trouble}.", trouble.hint or "`orthanc db-migrate`", state=str(trouble))
        return
    yield ok("routing_state and the other tables are those this version needs", state="current")


@check("durability", section=Section.DATABASE)
def durability(site: Site) -> Iterator[Finding]:
    """Whether PostgreSQL waits for the disk, so that what was committed survives a power cut."""
    _ = site.postgres
    with site.any_db.transaction() as tx:
        said = {name: tx.one("SELECT current_setting(%(name)s) AS value", name=name)["value"] for name in _LOSES}
    lost = [name for name, value in said.items() if value == "off"]
    for name in lost:
        report = warning if name == "synchronous_commit" else error
        yield report(
            f"PostgreSQL runs with {name} off: {_LOSES[name]}.",
            f"set {name} = on in postgresql.conf and reload PostgreSQL; `SHOW {name}` tells",
            subject=name,
            **said,
        )
    if not lost:
        yield ok("what was committed survives a power cut", **said)


@check("connections", section=Section.DATABASE)
def connections(site: Site) -> Iterator[Finding]:
    """How many of PostgreSQL's connections are taken."""
    _ = site.postgres
    with site.any_db.transaction() as tx:
        row = tx.one(
            "SELECT (SELECT sum(numbackends) FROM pg_stat_database)::int AS used,"
            " current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int AS most"
        )
    used, most = row["used"], row["most"]
    said = f"{used} of {most} connections are taken"
    figures = (Figure("connections", used),)
    if used >= _MANY * most:
        report = error if used >= _TOO_MANY * most else warning
        yield report(
            f"PostgreSQL is short of connections: {said}.",
            "raise database_max_connections in the inventory and deploy, or find who holds them in pg_stat_activity",
            figures=figures,
            used=used,
            most=most,
        )
        return
    yield ok(said, figures=figures, used=used, most=most)


@check("database-size", section=Section.DATABASE)
def database_size(site: Site) -> Iterator[Finding]:
    """How large the databases are."""
    sizes = site.postgres.sizes
    total = sum(sizes.values())
    named = ", ".join(f"{name} {size(octets)}" for name, octets in sizes.items())
    figures = (Figure("database_bytes", total, "B"),)
    if not sizes:
        yield unseen("no database lets us see its size")
        return
    yield ok(f"{size(total)} in all ({named})", figures=figures, sizes=dict(sizes))
