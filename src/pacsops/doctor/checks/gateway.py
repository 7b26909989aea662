"""The gateway: does it receive and send, is there room in its spool, does what it sends to answer?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from typing import Any

from pacsops.dimse import verification
from pacsops.doctor.check import Section, check
from pacsops.doctor.destination_state import SLOW_MS
from pacsops.doctor.echo_meaning import evidence_of, meaning
from pacsops.doctor.finding import Figure, Finding, error, ok, unseen, warning
from pacsops.doctor.gateway_destinations import ECHO_TIMEOUT, echo_as_gateway
from pacsops.doctor.side_by_side import side_by_side
from pacsops.doctor.site import Site
from pacsops.errors import DatabaseUnreachable, GatewayConfigurationError, SchemaMismatch
from pacsops.gateway.configuration import load
from pacsops.gateway.last_good import last_good
from pacsops.orthanc import Echo, Modality
from pacsops.words import ago, lasting, moment, now, size

AT_ONCE = 20


@check("gateway", section=Section.SERVICES, scope="host")
def gateway(site: Site) -> Iterator[Finding]:
    """Whether this host's gateway takes associations, by its gateway.yml, and its forwarder does its duties."""
    settings = site.settings
    if not settings.gateway_port:
        return
    where = f"{settings.gateway_host}:{settings.gateway_port}"
    answer = verification.echo(
        settings.gateway_host, settings.gateway_port, settings.gateway_aet, settings.gateway_aet, ECHO_TIMEOUT
    )
    # It lets in only those gateway.yml names, which need not be itself: a rejection is an answer.
    if answer.outcome in ("answered", "rejected"):
        yield ok(f"the gateway receives on {where}", milliseconds=answer.milliseconds)
    else:
        yield error(
            f"The gateway does not receive on {where}: {answer.reason}.",
            "`orthanc restart gateway`, then `orthanc logs --service gateway --errors`; devices do not wait long",
            subject="receiver",
            error=answer.reason,
        )
    yield from _configuration(site)
    try:
        yield from _forwarder(site)
    except (DatabaseUnreachable, SchemaMismatch):
        yield unseen(
            "Whether the gateway sends cannot be said without PostgreSQL; it goes on receiving.",
            "`orthanc start postgres`, or see what became of it: `orthanc status`",
            subject="forwarder",
        )


def _configuration(site: Site) -> Iterator[Finding]:
    """Without PostgreSQL: the file, and what the gateway keeps of the last good one."""
    file = site.settings.gateway_file
    try:
        load(file)
        return
    except GatewayConfigurationError as refused:
        why = str(refused).replace(":\n  ", ": ").replace("\n  ", "; ")
    hint = "mend it, or deploy: `ansible-playbook -i inventories/<site> site.yml`; it is taken up without a restart"
    evidence: dict[str, Any] = {"subject": "gateway.yml", "path": str(file), "error": why}
    try:
        kept = last_good(site.settings.gateway_spool)
    except PermissionError:
        yield error(f"The gateway does not take its file: {why}. The last good one stays in force.", hint, **evidence)
        return
    except (OSError, GatewayConfigurationError):
        kept = None
    if kept is None:
        yield error(
            f"The gateway does not take its file: {why}. There was no good one before: nobody may send.",
            hint,
            **evidence,
        )
        return
    since = moment(kept.accepted_at)
    yield error(
        f"The gateway does not take its file: {why}. The one of {since} stays in force, after a restart too.",
        hint,
        in_force_since=kept.accepted_at,
        **evidence,
    )


def _forwarder(site: Site) -> Iterator[Finding]:
    beat = site.gateway_beat
    if beat is None or not beat.alive:
        last = f"gave its last sign of life {ago(beat.beat_at)}" if beat else "has not run yet"
        yield error(
            f"The gateway's forwarder {last}: what is received waits in the spool.",
            "`orthanc restart gateway`, then `orthanc logs --service gateway --errors`",
            subject="forwarder",
            last_beat_at=beat.beat_at if beat else None,
        )
        return
    for trouble, duties in beat.held_up.items():
        yield warning(
            f"The gateway cannot do its {'duty' if len(duties) == 1 else 'duties'} {', '.join(duties)}: {trouble}.",
            "it tries again by itself; `orthanc logs --service gateway --errors`",
            subject=", ".join(duties),
        )
    if not beat.held_up:
        up = lasting((now() - beat.started_at).total_seconds())
        yield ok(f"the gateway's forwarder runs, up for {up} ({beat.instance})", subject="forwarder")


@check("gateway-spool", section=Section.STORAGE, scope="host")
def gateway_spool(site: Site) -> Iterator[Finding]:
    """Whether the gateway's spool is there, can be written, and has room beyond the reserve it keeps free."""
    settings = site.settings
    if not settings.gateway_port:
        return
    spool, reserve = settings.gateway_spool, settings.gateway_reserve
    try:
        usage, flags = shutil.disk_usage(spool), os.statvfs(spool).f_flag
    except OSError as trouble:
        yield error(
            f"The gateway's spool {spool} cannot be looked at: {trouble.strerror}.",
            "mount its file system, or deploy anew; nothing is received meanwhile",
            path=str(spool),
        )
        return
    evidence: dict[str, Any] = {"path": str(spool), "free_bytes": usage.free, "reserve_bytes": reserve}
    figures = (Figure("spool_free", usage.free, "B"),)
    if flags & os.ST_RDONLY:
        yield error(
            f"The gateway's spool {spool} is mounted read-only: it refuses all images (0xA700).",
            "the system log (`journalctl -k`) says why: often a failing disk; then mount it anew",
            **evidence,
        )
    elif usage.free < reserve:
        yield error(
            f"The gateway's spool ({spool}) has {size(usage.free)} left, less than its reserve of {size(reserve)}:"
            " it refuses all images (0xA700).",
            "extend the file system, or have deliveries go out: `orthanc show-stuck`, `orthanc show-pending`",
            figures=figures,
            **evidence,
        )
    elif usage.free < 2 * reserve:
        yield warning(
            f"The gateway's spool ({spool}) has {size(usage.free)} left; below {size(reserve)} it refuses images.",
            "extend the file system, or have deliveries go out: `orthanc show-stuck`, `orthanc show-pending`",
            figures=figures,
            **evidence,
        )
    else:
        yield ok(f"{size(usage.free)} free for the gateway's spool ({spool})", figures=figures, **evidence)


@check("gateway-destinations", section=Section.DESTINATIONS, scope="host", limit=90.0)
def gateway_destinations(site: Site) -> Iterator[Finding]:
    """Whether each destination of the gateway answers a C-ECHO from this host, and how quickly."""
    if not site.settings.gateway_port:
        return
    known = site.gateway_destinations
    if not known:
        yield warning(
            "The gateway has no destination: what it receives is kept, and goes nowhere.",
            "gateway_destinations in the inventory, then deploy; and a route with `source: gateway`",
        )
    ask = partial(echo_as_gateway, site.settings)
    for modality, answered in side_by_side(ask, known.values(), at_once=AT_ONCE):
        yield _judged(site, modality, answered)


def _judged(site: Site, modality: Modality, answered: Echo) -> Finding:
    where = f"{modality.name} ({modality.host}:{modality.port}), from the gateway"
    evidence = evidence_of(modality, answered)
    if answered.failure is not None:
        meant = meaning(answered, modality, site.settings.gateway_aet)
        return error(
            f"{where} - {answered.failure.message}.",
            f"{meant[1] if meant else 'its log says more'}; `orthanc test-destination {modality.name}`",
            subject=modality.name,
            **evidence,
        )
    said = f"{where} - C-ECHO response: {answered.milliseconds}ms"
    figures = (Figure(f"gateway_echo_{modality.name}", answered.milliseconds / 1000, "s"),)
    if answered.milliseconds <= SLOW_MS:
        return ok(said, subject=modality.name, figures=figures, **evidence)
    return warning(
        f"{said} (slow).",
        f"check the network path to {modality.host} and that system's load",
        subject=modality.name,
        figures=figures,
        **evidence,
    )
