"""Destinations: does each answer Orthanc now, and did deliveries arrive?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pacsops.delivery import desk, intake
from pacsops.delivery.model import DestinationHealth, Status
from pacsops.doctor.check import Section, check
from pacsops.doctor.destination_state import SLOW_MS, destination_states
from pacsops.doctor.echo_meaning import evidence_of, meaning
from pacsops.doctor.finding import Figure, Finding, Fix, error, ok, unseen, warning
from pacsops.doctor.rules import Rules
from pacsops.doctor.side_by_side import side_by_side
from pacsops.doctor.site import DestinationAnswer, Site
from pacsops.errors import FixRefused, PacsopsError
from pacsops.orthanc import Modality
from pacsops.routes import RoutesInvalid
from pacsops.words import deliveries

AT_ONCE = 40
"""Each echo holds one of Orthanc's HTTP threads, of which it has 50; the router and the viewer need the others."""


@check("destination-echo", section=Section.DESTINATIONS, limit=90.0)
def destination_echo(site: Site) -> Iterator[Finding]:
    """Whether each destination answers a C-ECHO (PS3.4 annex A) that Orthanc sends it, and how quickly."""
    modalities = site.modalities
    if not modalities:
        yield warning("Orthanc has no destination yet.", "`orthanc add-destination`")
        return
    ask = partial(_ask, site)
    for modality, outcome in side_by_side(ask, modalities.values(), at_once=AT_ONCE):
        yield _judged(site, modality, outcome)


def _ask(site: Site, modality: Modality) -> DestinationAnswer | PacsopsError:
    """Its answer, or what kept Orthanc from asking: one that cannot be asked hides no other."""
    try:
        return site.echo(modality)
    except PacsopsError as trouble:
        return trouble


def _judged(site: Site, modality: Modality, answered: DestinationAnswer | PacsopsError) -> Finding:
    if isinstance(answered, PacsopsError):
        return unseen(str(answered), answered.hint, subject=modality.name)
    outcome, rejection = answered.echo, answered.rejection
    where = f"{modality.name} ({modality.host}:{modality.port})"
    evidence = {**evidence_of(modality, outcome), "rejection": rejection}
    test = f"`orthanc test-destination {modality.name}`"
    if outcome.failure is None:
        figures = (Figure(f"echo_{modality.name}", outcome.milliseconds / 1000, "s"),)
        if outcome.milliseconds <= SLOW_MS:
            said = f"{where} - C-ECHO response: {outcome.milliseconds}ms"
            return ok(said, subject=modality.name, figures=figures, **evidence)
        return warning(
            f"{where} - C-ECHO response: {outcome.milliseconds}ms (slow).",
            f"check the network path to {modality.host} and that system's load, then {test}",
            subject=modality.name,
            figures=figures,
            **evidence,
        )
    meant = meaning(outcome, modality, site.settings.orthanc_aet)
    then = meant[1] if meant else "Orthanc's log says more"
    report = error if _is_sent_to(site, modality.name) else warning
    return report(
        f"{where} - {rejection or outcome.failure.message}." + ("" if report is error else " No route sends to it."),
        f"{_mend_rejection(rejection, modality, site) or then}; {test}",
        subject=modality.name,
        **evidence,
    )


def _mend_rejection(reason: str | None, modality: Modality, site: Site) -> str | None:
    """PS3.8 table 9-21: which of the two AE titles the peer does not know."""
    if reason is None:
        return None
    if "called ae title" in reason.lower():
        return f"its own AE title is not {modality.aet}: ask its administrator, then `orthanc add-destination` anew"
    if "calling ae title" in reason.lower():
        ours = modality.local_aet or site.settings.orthanc_aet
        return f"its administrator must register our AE title {ours} with this host's address"
    return None


def _is_sent_to(site: Site, name: str) -> bool:
    """Whether a route names it or a delivery waits for it; True where that cannot be asked."""
    rules = _rules(site)
    if rules is None or not site.database_answers:
        return True
    health = site.destination_health.get(name)
    return name in rules.table.destinations or bool(health and (health.waiting or health.stuck))


def _rules(site: Site) -> Rules | None:
    try:
        return site.rules
    except RoutesInvalid:
        return None


@check("destination-deliveries", section=Section.DESTINATIONS)
def destination_deliveries(site: Site) -> Iterator[Finding]:
    """What deliveries met at each destination: open breakers, failures, destinations that Orthanc lost."""
    known = site.destination_health
    states = destination_states(
        site.modalities_if_known, known, _rules(site), site.gateway_destinations, site.gateway_pools
    )
    troubled = 0
    for state in states:
        if state.issue is not None:
            troubled += 1
            severity, message = state.issue
            yield Finding(
                severity=severity,
                message=message,
                recommendation=state.remedy,
                subject=state.name,
                evidence={"state": state.state, **_numbers(state.health)},
            )
    waiting = sum(health.waiting for health in known.values())
    if not troubled:
        yield ok(f"no destination holds up deliveries ({deliveries(waiting)} on their way)", waiting=waiting)


def _numbers(health: DestinationHealth | None) -> dict[str, object]:
    if health is None:
        return {}
    return {
        "breaker": health.breaker,
        "since": health.opened_at,
        "waiting": health.waiting,
        "stuck": health.stuck,
        "last_error": health.last_error,
        "last_success_at": health.last_success_at,
    }


@check("stuck-by-outage", section=Section.DESTINATIONS, limit=90.0)
def stuck_by_outage(site: Site) -> Iterator[Finding]:
    """Deliveries that are stuck only because their destination was away, though it answers now."""
    stuck = {each.destination: each for each in intake.stuck_by_outage(site.db)}
    if not stuck:
        yield ok("no delivery is stuck over a destination that was away")
        return
    modalities = site.modalities
    there = [modalities[name] for name in stuck if name in modalities]
    answering = {
        modality.name: isinstance(answered, DestinationAnswer) and answered.echo.ok
        for modality, answered in side_by_side(partial(_ask, site), there, at_once=AT_ONCE)
    }
    for name in site.gateway_destinations.keys() - modalities.keys():
        # The gateway asks for itself, once a minute.
        found = site.destination_health.get(name)
        answering[name] = found is not None and found.last_echo_ms is not None
    for name, each in stuck.items():
        owed = deliveries(len(each.delivery_ids))
        if answering.get(name):
            yield warning(
                f"{owed} to {name} stuck while it was away; it answers now.",
                f"`orthanc doctor --fix`, or `orthanc retry --all --destination {name}`",
                subject=name,
                fix=Fix(f"try {owed} to {name} again", _retry(site, each.delivery_ids)),
                deliveries=list(each.delivery_ids),
                answers=True,
            )
        else:
            yield warning(
                f"{owed} to {name} stuck because it does not answer.",
                f"`orthanc test-destination {name}` says why; they go out when it is back, or by `orthanc retry`",
                subject=name,
                deliveries=list(each.delivery_ids),
                answers=False,
            )


def _retry(site: Site, numbers: tuple[int, ...]) -> Callable[[str], str]:
    def apply(by: str) -> str:
        wanted = desk.DeliveryFilter(delivery_ids=numbers, statuses=frozenset({Status.STUCK}))
        taken = desk.retry(site.db, wanted, by=by)
        if not taken:
            raise FixRefused("the deliveries are no longer stuck", hint="`orthanc show-stuck`")
        return f"{deliveries(len(taken))} to {taken[0].destination} will be tried again"

    return apply
