"""`orthanc logs`: what the services of this host say, whichever way it runs them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
import re2

from pacsops.cli.completion import service_names
from pacsops.cli.log_words import LogPage, Naming
from pacsops.cli.parameters import Since, json_option
from pacsops.cli.render import Page, count, warn, write_json_line
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.errors import (
    AmbiguousStudy,
    DatabaseUnreachable,
    OrthancRefused,
    OrthancUnreachable,
    SchemaMismatch,
    UnknownStudy,
)
from pacsops.orthanc.client import ORTHANC_ID
from pacsops.services.entries import Entry
from pacsops.services.reading import LogReader, Wanted

_LINES = 50
_LINES_SINCE = 10_000
_SHORTEST_PREFIX = 6
_LEAST: dict[str, frozenset[str | None]] = {
    "errors": frozenset({"ERROR"}),
    "warnings": frozenset({"ERROR", "WARN"}),
}


@click.command("logs")
@click.option(
    "--follow/--no-follow",
    "-f",
    default=None,
    help="Go on with new lines until Ctrl-C, or show what there is and end [default: follow on a terminal].",
)
@click.option("--errors", "least", flag_value="errors", help="Only errors.")
@click.option("--warnings", "least", flag_value="warnings", help="Only warnings and errors.")
@click.option("--since", type=Since(), help="Only what was said since then: 1h, 7d, 2026-02-03, 2026-02-03T10:30.")
@click.option("--study", help="Only lines about this study: its Orthanc id, StudyInstanceUID or accession number.")
@click.option("--grep", "pattern", metavar="PATTERN", help="Only lines with this regular expression, in either case.")
@click.option(
    "--service",
    "names",
    multiple=True,
    shell_complete=service_names,
    help="Only this service of the host; may be given several times [default: all].",
)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(1, 1_000_000),
    help=f"So many of what there is, the newest [default: {_LINES}; {_LINES_SINCE:,} with --since].",
)
@json_option
@pass_site
def logs(  # noqa: PLR0913 (one parameter an option)
    site: Site,
    *,
    follow: bool | None,
    least: str | None,
    since: datetime | None,
    study: str | None,
    pattern: str | None,
    names: tuple[str, ...],
    lines: int | None,
    as_json: bool,
) -> None:
    """View and filter the logs of this host's services.

    \b
    Examples:
      orthanc logs --errors --since 1h
      orthanc logs --study ACC-2026-0815 --no-follow
      orthanc logs --service router --grep MODLINK

    Services are those of the host the command runs on, whatever runs them; several hosts: one after the other. A
    line is shown as its format is understood, else as it is. Logs name no patient: the study's name beside
    RECEIVED comes from the database, while that answers.

    --study finds the lines that name the study, its deliveries or their jobs. --json prints one object a line
    (schema_version, service, at, level, component, event, fields, line).

    Exit code: 0, also after Ctrl-C; 2 when the logs cannot be read.
    """
    host = site.host
    services = host.named(names)
    wanted = _wanted(least, _about(site, study) if study else None, pattern)
    following = sys.stdout.isatty() if follow is None else follow
    most = lines or (_LINES_SINCE if since else _LINES)
    show = _as_json if as_json else LogPage(Page(), _naming(site)).show
    if not as_json and sys.stdout.isatty():
        Page().title("📋", "LOGS" if len(services) == len(host.services) else f"LOGS: {services[0].title}")
    reader = LogReader(host, services)
    found = reader.recent(since=since, most=most, wanted=wanted)
    for entry in found:
        show(entry)
    if since and not lines and len(found) == most:
        warn(f"Only the newest {most:,} lines since then are shown.", f"--lines {10 * most} shows more")
    if following:
        _follow(reader, wanted, show)
    elif not found:
        said = ", ".join(service.title for service in services)
        warn(
            f"No such line in the logs of {said}.", "--since 7d looks further, --lines shows more" if least else None
        )


def _follow(reader: LogReader, wanted: Wanted | None, show: Callable[[Entry], None]) -> None:
    if sys.stdout.isatty():
        click.echo("[Following... Press Ctrl+C to stop]", err=True)
    coming = reader.following(wanted)
    try:
        for entry in coming:
            show(entry)
            sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo(err=True)


def _as_json(entry: Entry) -> None:
    document: dict[str, Any] = {
        "service": entry.service,
        "at": entry.at,
        "level": entry.level,
        "component": entry.component,
        "event": entry.event,
        "fields": entry.fields,
        "line": entry.line,
    }
    write_json_line(document)


def _wanted(least: str | None, about: Wanted | None, pattern: str | None) -> Wanted | None:
    """Everything that was asked for, as one question; None: all lines are wanted."""
    questions: list[Wanted] = []
    if least is not None:
        levels = _LEAST[least]
        questions.append(lambda entry: entry.level in levels)
    if pattern is not None:
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        try:
            expression = re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
            raise click.BadParameter(f"{pattern!r} is no regular expression: {reason}", param_hint="--grep") from None
        questions.append(lambda entry: expression.search(entry.line) is not None)
    if about is not None:
        questions.append(about)
    return (lambda entry: all(question(entry) for question in questions)) if questions else None


# ── the lines about one study ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Traces:
    """What logs call a study: they have none of its DICOM identifiers but in what peers say."""

    words: frozenset[str]
    deliveries: frozenset[str]

    def __call__(self, entry: Entry) -> bool:
        if entry.fields.get("delivery_id") in self.deliveries:
            return True
        return any(word in entry.line for word in self.words)


def _about(site: Site, name: str) -> Wanted:
    """
    Raises:
        UnknownStudy, AmbiguousStudy
    """
    try:
        studies = desk.find_studies(site.db, name)
    except (DatabaseUnreachable, SchemaMismatch) as error:
        known = _from_orthanc(site, name, error)
        warn(f"{error}: lines that name only a delivery or a job of the study are not found.")
        return _Traces(frozenset(known), frozenset())
    except UnknownStudy as error:
        known = _from_orthanc(site, name, error)
        return _Traces(frozenset(known), frozenset())
    ids = tuple(study.study_id for study in studies)
    deliveries = desk.deliveries(site.db, study_id=ids)
    jobs = {str(event.detail["job_id"]) for event in desk.timeline(site.db, ids) if "job_id" in event.detail}
    words = {*ids, *jobs, *(study.study_uid for study in studies if study.study_uid)}
    return _Traces(frozenset(words), frozenset(str(delivery.id) for delivery in deliveries))


def _from_orthanc(site: Site, name: str, error: UnknownStudy | DatabaseUnreachable | SchemaMismatch) -> set[str]:
    """The study's identifiers without the database's help. The caller's `error` when Orthanc cannot help either."""
    if ORTHANC_ID.fullmatch(name) or (len(name) >= _SHORTEST_PREFIX and re.fullmatch(r"[0-9a-f-]+", name)):
        return {name}
    try:
        found = site.orthanc.lookup(name)
    except (OrthancUnreachable, OrthancRefused) as unanswered:
        raise UnknownStudy(
            f"which study {name!r} is cannot be found out: {error}; {unanswered}",
            hint="name it by its Orthanc id, or say --grep",
        ) from unanswered
    if not found:
        raise UnknownStudy(f"no study is known by {name!r}", hint="name it by its Orthanc id, or say --grep")
    if len(found) > 1:
        listed = ", ".join(study_id[:13] for study_id in found)
        raise AmbiguousStudy(f"{len(found)} studies are known by {name!r}: {listed}", hint="name one of these")
    return set(found)


def _naming(site: Site) -> Naming:
    """Who a study is, asked once each; nothing more is asked once the database does not answer."""
    known: dict[str, str | None] = {}
    answers = True

    def name(study_id: str) -> str | None:
        nonlocal answers
        if answers and study_id not in known:
            try:
                study = desk.find_study(site.db, study_id)
            except UnknownStudy:
                known[study_id] = None
            except (DatabaseUnreachable, SchemaMismatch):
                answers = False
            else:
                said: Iterable[str | None] = (study.patient_name, study.study_description)
                words = " - ".join(word for word in said if word)
                images = f" ({count(study.instance_count, 'image')})" if study.instance_count else ""
                known[study_id] = (words or "a study") + images
        return known.get(study_id)

    return name
