"""What this host is to run, by the deployment's own list: does it run, does it serve, what does its log say?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, error, ok, warning
from pacsops.doctor.side_by_side import side_by_side
from pacsops.doctor.site import Site
from pacsops.services import Service, State, runtime_of, trouble
from pacsops.services.entries import Entry
from pacsops.services.reading import LogReader
from pacsops.words import count, now

_AT_ONCE = 16
_LATELY = timedelta(hours=1)
_MOST = 10_000  # entries; nobody counts on


@check("services", section=Section.SERVICES, scope="host")
def services(site: Site) -> Iterator[Finding]:
    """Whether every service of this host runs, by what runs them (Docker, systemd or supervisor), and serves."""
    host = site.host
    with site.asking(f"{host.runtime} for its services"):
        states = runtime_of(host).states()
    if not states:
        yield ok("this host runs no service of the site", runtime=host.runtime)
        return
    # Some runtimes know only of processes: then the service is asked itself.
    unsure = [
        service
        for name, service in host.services.items()
        if states[name].condition == "running" and states[name].healthy is None
    ]
    wrong = {
        service.name: found
        for service, found in side_by_side(lambda each: trouble(each.health, site.settings), unsure, at_once=_AT_ONCE)
    }
    for name, service in host.services.items():
        yield _judged(service, states[name], wrong.get(name), runtime=host.runtime)


def _judged(service: Service, state: State, wrong: str | None, *, runtime: str) -> Finding:
    evidence: dict[str, Any] = {
        "runtime": runtime,
        "unit": service.unit,
        "state": state.condition,
        "said": state.said,
    }
    see = f"`orthanc logs --service {service.name} --errors`"
    if state.condition in ("stopped", "failed"):
        return error(
            f"{service.title} does not run ({state.condition}, {state.said}). {service.without}".rstrip(),
            f"`orthanc start {service.name}`; {see}",
            subject=service.name,
            trouble=None,
            **evidence,
        )
    if wrong or state.healthy is False:
        return error(
            f"{service.title} runs and does not serve: {wrong or state.said}. {service.without}".rstrip(),
            f"{see}, then `orthanc restart {service.name}`",
            subject=service.name,
            trouble=wrong,
            **evidence,
        )
    if state.condition == "starting":
        return warning(
            f"{service.title} is starting: {state.said}.",
            f"look again in a minute; {see}",
            subject=service.name,
            trouble=None,
            **evidence,
        )
    return ok(f"{service.title} runs ({state.said})", subject=service.name, trouble=None, **evidence)


@check("logs", section=Section.LOGS, scope="host")
def logs(site: Site) -> Iterator[Finding]:
    """How many errors and warnings the services of this host logged in the last hour."""
    host = site.host
    reader = LogReader(host, list(host.services.values()))
    with site.asking(f"the logs of {', '.join(host.services)}"):
        entries = reader.recent(since=now() - _LATELY, most=_MOST, wanted=_matters)
    errors = Counter(entry.service for entry in entries if entry.level == "ERROR")
    warnings = Counter(entry.service for entry in entries if entry.level == "WARN")
    figures = (Figure("log_errors", errors.total()), Figure("log_warnings", warnings.total()))
    evidence: dict[str, Any] = {"errors": dict(errors), "warnings": dict(warnings)}
    also = count(warnings.total(), "warning")
    if not errors:
        yield ok(f"no errors in the last hour, {also}", figures=figures, **evidence)
        return
    whose = ", ".join(f"{number} of {name}" for name, number in errors.most_common())
    yield warning(
        f"{count(errors.total(), 'error')} in the last hour ({whose}), and {also}.",
        "`orthanc logs --errors --since 1h`",
        figures=figures,
        **evidence,
    )


def _matters(entry: Entry) -> bool:
    # What belongs to the line before it is counted with that.
    return entry.level in ("ERROR", "WARN") and not entry.continued
