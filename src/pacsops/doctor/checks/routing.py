"""Routing: does the router run, by which routes, and what is left undone?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from pacsops.delivery import desk, intake
from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, Fix, error, ok, unseen, warning
from pacsops.doctor.rules import Rules
from pacsops.doctor.site import Site
from pacsops.errors import FixRefused
from pacsops.gateway.naming import names_of
from pacsops.routes import RoutesInvalid, RouteTable, Source, load_routes, unknown_destinations
from pacsops.routes.durations import as_text
from pacsops.routes.shadowing import shadowed
from pacsops.words import ago, count, deliveries, lasting, moment, now, studies

_OVERDUE, _LONG_OVERDUE = 3600.0, 86400.0
"""Seconds a delivery may wait where its route says nothing else."""
_UNUSED = timedelta(days=30)
_SECONDS_TO_TAKE = 10.0  # a router looks at the file every second, and needs to see it twice


@check("router", section=Section.SERVICES)
def router(site: Site) -> Iterator[Finding]:
    """Whether a router gives signs of life, and can do its duties."""
    beat = site.beat
    if beat is None:
        yield error(
            "No router has run yet: studies are received, none is sent.",
            "`orthanc start router`",
            state="never ran",
        )
        return
    evidence: dict[str, Any] = {"instance": beat.instance, "since": beat.started_at, "last_beat_at": beat.beat_at}
    if not beat.alive:
        yield error(
            f"The router ({beat.instance}) gave its last sign of life {ago(beat.beat_at)}: nothing is sent."
            " It catches up when it runs again.",
            "on its host: `orthanc restart router`, then `orthanc logs --service router`",
            state="silent",
            **evidence,
        )
        return
    for trouble, duties in beat.held_up.items():
        yield warning(
            f"The router cannot do its {'duty' if len(duties) == 1 else 'duties'} {', '.join(duties)}: {trouble}.",
            "it tries again by itself; `orthanc logs --service router --errors`",
            subject=", ".join(duties),
            state="running",
            **evidence,
        )
    if not beat.held_up:
        up = lasting((now() - beat.started_at).total_seconds())
        yield ok(f"the router runs, up for {up} ({beat.instance})", state="running", **evidence)


@check("routes", section=Section.ROUTING)
def routes(site: Site) -> Iterator[Finding]:
    """Whether routes are in force, and are those of the file."""
    answers = site.database_answers
    rules = None
    try:
        rules = site.rules
    except RoutesInvalid as trouble:
        known = "No routes are in force" if answers else "Which routes are in force is not known"
        yield error(
            f"{known}; {str(trouble).splitlines()[0].rstrip(':')}.",
            "`orthanc routes --validate`",
            problems=[problem.as_dict() for problem in trouble.problems],
        )
    rejected = False
    if answers:
        newest = site.newest_routes
        if newest is not None and not newest.accepted:
            rejected = True
            report = warning if rules and rules.since else error
            yield report(
                f"The routes.yml of {moment(newest.loaded_at)} was rejected"
                f" ({count(len(newest.problems), 'problem')}); "
                + ("the one before stays in force." if rules and rules.since else "none is in force."),
                "`orthanc routes --validate` lists them",
                subject="rejected",
                hash=newest.hash,
                problems=list(newest.problems),
            )
    if rules is None:
        return
    yield from _file(site, rules, rejected=rejected)
    if not any(route.enabled for route in rules.table.routes):
        yield warning("No route is enabled: nothing is sent.", "`orthanc routes`; `enabled: true` in routes.yml")
        return
    what = count(len(rules.table.routes), "route")
    if rules.since is None:
        yield ok(f"routes.yml is valid, {what}; {rules.doubt}", hash=rules.table.hash, in_force_since=None)
        return
    since = moment(rules.since)
    yield ok(f"{what} in force since {since}", hash=rules.table.hash, in_force_since=rules.since)


def _file(site: Site, rules: Rules, *, rejected: bool) -> Iterator[Finding]:
    """The file beside what is in force. One that is elsewhere (another host's router reads it) says nothing."""
    file = site.settings.routes_file
    if rules.since is None or not file.parent.is_dir():
        return
    if not file.exists():
        yield warning(
            f"There is no {file}; the router goes on with what it took last, which is in PostgreSQL.",
            "`orthanc doctor --fix` writes it back",
            subject="file",
            fix=Fix(f"write {file} as it is in force", _write_back(file, rules.table.text)),
            path=str(file),
        )
        return
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        yield warning(f"{file} cannot be read: {trouble}.", "run it as root", subject="file", path=str(file))
        return
    settled = time.time() - file.stat().st_mtime > _SECONDS_TO_TAKE
    if text != rules.table.text and not rejected and settled:
        yield warning(
            f"{file} is not what is in force: no router has taken it.",
            "does the router run, and does it read this file? `orthanc status`, `orthanc routes --validate`",
            subject="file",
            path=str(file),
        )


def _write_back(file: Path, text: str) -> Callable[[str], str]:
    def apply(_by: str) -> str:
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        owner = file.parent.stat()
        try:
            beside.write_text(text, "utf-8")
            beside.chmod(0o644)
            if os.geteuid() == 0:
                os.chown(beside, owner.st_uid, owner.st_gid)
            os.link(beside, file)  # unlike rename, it never takes the place of a file that came meanwhile
        except OSError as trouble:
            raise FixRefused(
                f"cannot write {file}: {trouble.strerror}", hint="`sudo orthanc doctor --fix --only routes`"
            ) from trouble
        finally:
            beside.unlink(missing_ok=True)
        return f"wrote {file} as it is in force"

    return apply


@check("routes-destinations", section=Section.ROUTING)
def routes_destinations(site: Site) -> Iterator[Finding]:
    """Whether Orthanc, or the gateway, knows every destination that a route names."""
    of_gateway, of_orthanc = site.rules.table.of(Source.GATEWAY), site.rules.table.of(Source.ORTHANC)
    if of_gateway.routes:
        yield from _of_gateway(site, of_gateway)
    if not of_orthanc.routes:
        return  # a site without an Orthanc, perhaps
    unknown = _unknown(of_orthanc, site.modalities)
    for name in unknown:
        yield warning(
            f"routes.yml: {name}; its deliveries wait until Orthanc knows it.",
            "`orthanc add-destination`, or correct routes.yml",
            subject=name,
        )
    if not unknown:
        yield ok(f"Orthanc knows each of {count(len(of_orthanc.destinations), 'destination')} that routes name")


def _of_gateway(site: Site, table: RouteTable) -> Iterator[Finding]:
    """What its routes name has to be a destination or a pool of the gateway that gave the newest sign of life."""
    names = names_of(site.gateway_beat) if site.database_answers else None
    if names is None:
        why = "no gateway has run yet" if site.database_answers else "PostgreSQL does not answer"
        yield unseen(
            f"Whether the gateway knows what its routes name cannot be said: {why}.",
            "`orthanc start gateway` on its host; without one, no route says `source: gateway`",
            subject="gateway",
        )
        return
    unknown = _unknown(table, names)
    for name, named_by in unknown.items():
        yield error(
            f"routes.yml: {name} to the gateway; its deliveries wait until gateway.yml has it.",
            "gateway_destinations or gateway_pools in the inventory, then deploy; or correct routes.yml",
            subject=name,
            named_by=named_by,
            known=sorted(names),
        )
    if not unknown:
        known = f"each of {count(len(table.destinations), 'destination')} that its routes name"
        yield ok(f"the gateway knows {known}", subject="gateway")


def _unknown(table: RouteTable, known: Collection[str]) -> dict[str, list[str]]:
    """In words, each destination that is not known; the routes that name it."""
    found: dict[str, list[str]] = {}
    for problem in unknown_destinations(table, known):
        found.setdefault(problem.message, []).append(str(problem.route))
    return found


@check("routes-shadowed", section=Section.ROUTING)
def routes_shadowed(site: Site) -> Iterator[Finding]:
    """Routes that are never looked at, because a `final` route before them takes all they would match."""
    hidden = shadowed(site.rules.table.routes)
    for route, by in hidden:
        yield warning(
            f"Route {route.name!r} (line {route.line}) is never looked at: {by.name!r} (line {by.line}) is final"
            " and takes all it would match.",
            f"give {route.name!r} a lower `priority`, or take it out; `orthanc routes` shows the order",
            subject=route.name,
            by=by.name,
        )
    if not hidden:
        yield ok("no route hides another")


@check("routes-unused", section=Section.ROUTING)
def routes_unused(site: Site) -> Iterator[Finding]:
    """Routes that matched no study for thirty days, though they were in force."""
    since = now() - _UNUSED
    before = intake.routes_text_at(site.db, since)
    if before is None:
        yield ok("the routes have not been in force for thirty days")
        return
    old = {route.name for route in load_routes(before).routes if route.enabled}
    matched = intake.route_last_matched(site.db, since)
    unused = [r for r in site.rules.table.routes if r.enabled and r.name in old and r.name not in matched]
    for route in unused:
        yield warning(
            f"Route {route.name!r} (line {route.line}) matched no study for thirty days.",
            "`orthanc routes explain` with a study it should match says why not; or set `enabled: false`",
            subject=route.name,
        )
    if not unused:
        yield ok("every route matched a study in the last thirty days", matched=matched)


@check("stuck", section=Section.ROUTING)
def stuck(site: Site) -> Iterator[Finding]:
    """Deliveries that were given up and need a person."""
    counts = site.counts
    figures = (Figure("stuck", counts.stuck),)
    if not counts.stuck:
        yield ok("no delivery is stuck", figures=figures, deliveries=0)
        return
    verb = "needs" if counts.stuck_studies == 1 else "need"
    yield warning(
        f"{studies(counts.stuck_studies)} {verb} attention ({deliveries(counts.stuck)} stuck).",
        "`orthanc failures` says what is wrong, `orthanc show-stuck` names each",
        figures=figures,
        deliveries=counts.stuck,
        studies=counts.stuck_studies,
    )


@check("overdue", section=Section.ROUTING)
def overdue(site: Site) -> Iterator[Finding]:
    """Deliveries that are not done within the time their route gives them (`deliver_within`)."""
    levels = site.overdue
    late = sum(level.deliveries for level in levels)
    figures = (Figure("overdue", late),)
    if not levels:
        yield ok("no delivery is overdue", figures=figures, deliveries=0)
        return
    worst = levels[0]
    yield warning(
        f"{deliveries(late)} {'is' if late == 1 else 'are'} overdue, the longest by {lasting(worst.late_seconds)}:"
        f" {worst.route} to {worst.destination} within {as_text(worst.deliver_within)}.",
        "`orthanc show-pending --overdue` says what each waits for",
        figures=figures,
        deliveries=late,
        levels=[asdict(level) for level in levels],
    )


@check("unverified", section=Section.ROUTING)
def unverified(site: Site) -> Iterator[Finding]:
    """Deliveries whose destination could not be asked whether it has them."""
    groups = site.unverified
    for group in groups:
        yield warning(
            f"{deliveries(group.deliveries)} to {group.destination} could not be verified: {group.reason}.",
            f"`orthanc reconcile --destination {group.destination}` asks it again",
            subject=group.destination,
            deliveries=group.deliveries,
        )
    if not groups:
        yield ok("every destination that is to be asked what it has could be")


@check("waiting", section=Section.ROUTING)
def waiting(site: Site) -> Iterator[Finding]:
    """Deliveries that have waited for more than an hour, whatever their routes say."""
    counts = site.counts
    oldest = counts.oldest_pending_seconds or 0.0
    figures = (Figure("pending", counts.pending), Figure("oldest_pending", round(oldest), "s"))
    if oldest <= _OVERDUE:
        said = f"{deliveries(counts.pending)} on their way" if counts.pending else "nothing waits to be delivered"
        yield ok(said, figures=figures, deliveries=counts.pending, oldest_seconds=round(oldest))
        return
    report = error if oldest > _LONG_OVERDUE else warning
    yield report(
        f"The oldest of {deliveries(counts.pending)} on their way has waited for {lasting(oldest)}.",
        "`orthanc show-pending` says what each waits for",
        figures=figures,
        deliveries=counts.pending,
        oldest_seconds=round(oldest),
    )


@check("unevaluated", section=Section.ROUTING)
def unevaluated(site: Site) -> Iterator[Finding]:
    """Studies that were received and that no route could be asked about."""
    counts = site.counts
    if not counts.unevaluated:
        yield ok("every study that was received was looked at", studies=0)
        return
    first = desk.unevaluated(site.db)[0]
    why = first.trouble or "not evaluated yet"
    look = f"`orthanc history {first.study_id[:13]}` and `orthanc logs --service router`"
    if first.source == Source.GATEWAY:
        look = f"`orthanc status --study {first.study_id}` and `orthanc logs --service gateway`"
    yield warning(
        f"{studies(counts.unevaluated)} received, but no route can be asked: {why}.",
        look,
        studies=counts.unevaluated,
        first=first.study_id,
    )
