"""A synthetic study through every live route: received, decided, and delivered where that is allowed.

A canary is known by its accession number, `PACSOPS-CANARY`. The router evaluates it like any study, but plans its
deliveries only to destinations that the site offers for it (`canary_destinations`): what a hospital reports from and
archives in gets no study that never was a patient. Afterwards it is removed from Orthanc.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Delivery, Status
from pacsops.dicom.synthetic import CANARY, part10
from pacsops.dimse import DimseError, Instance, Peer, associate, contexts_to_store
from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc import Orthanc, all_modalities
from pacsops.router.canary_studies import Canary, Untriable, canary_for
from pacsops.routes import RouteTable, Source
from pacsops.settings import Settings

_POLL_SECONDS = 0.5
_FAILED = frozenset({Status.STUCK, Status.SKIPPED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Flight:
    """What became of a route's canary."""

    route: str
    outcome: str
    """delivered: everywhere it may go. decided: the route took it, and none of its destinations takes canaries.
    untried: no study could be made for the route. failed: the route did not take it, or it did not arrive."""
    destinations: tuple[str, ...] = ()
    """Where it was to be delivered."""
    reason: str = ""


def fly(
    settings: Settings,
    orthanc: Orthanc,
    database: Database,
    table: RouteTable,
    *,
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Flight]:
    """Send a canary through every enabled route of `table`, the routes in force, and wait for all of them.

    Those of what the gateway receives are left out.

    Args:
        seconds: the longest to wait for all.
        tell: told of progress.

    Raises:
        OrthancUnreachable, OrthancRefused, DatabaseUnreachable: it could not be begun, or not watched to its end.
    """
    table = table.of(Source.ORTHANC)
    remove(orthanc, database)
    done: dict[str, Flight] = {}
    under_way: dict[str, tuple[Canary, str, frozenset[str]]] = {}
    aet_of = {name: modality.aet for name, modality in all_modalities(orthanc).items()}
    live = [route for route in table.routes if route.enabled]
    try:
        for route in live:
            try:
                canary = canary_for(route, table)
                study_id = _launch(settings, orthanc, canary)
            except Untriable as reason:
                done[route.name] = Flight(route.name, "untried", reason=str(reason))
                continue
            allowed = {
                each.destination for each in table.select(canary.facts, aet_of) if each.route.name == route.name
            }
            under_way[route.name] = (canary, study_id, frozenset(allowed) & settings.canary_destinations)
        deadline = time.monotonic() + seconds
        while under_way:
            for name, (_, study_id, expected) in list(under_way.items()):
                flight = _landed(database, name, study_id, expected, over=time.monotonic() >= deadline)
                if flight is not None:
                    done[name] = flight
                    del under_way[name]
            tell(f"{len(done)} of {len(live)} routes have been tried…")
            if under_way:
                time.sleep(_POLL_SECONDS)
    finally:
        remove(orthanc, database)
    return [done[route.name] for route in live]


def remove(orthanc: Orthanc, database: Database) -> int:
    """Remove every canary from Orthanc, and take back what is left of its deliveries; how many there were."""
    found = orthanc.lookup(CANARY)
    for study_id in found:
        desk.cancel(database, DeliveryFilter(study_ids=(study_id,)), reason="the canary is over", by="canary")
        try:
            orthanc.delete(f"/studies/{study_id}")
        except NotFoundInOrthanc:
            continue
    return len(found)


def _launch(settings: Settings, orthanc: Orthanc, canary: Canary) -> str:
    """Bring it into Orthanc; the study's id there.

    Raises:
        Untriable: Orthanc does not take it from the sender that the route asks for.
    """
    if canary.sender_aet is None:
        stored: dict[str, str] = orthanc.post("/instances", part10(canary.dataset))
        return stored["ParentStudy"]
    host = urlsplit(settings.orthanc_url).hostname or "localhost"
    peer = Peer(host, settings.orthanc_dicom_port, settings.orthanc_aet)
    try:
        asyncio.run(_store(peer, canary.sender_aet, canary))
    except (DimseError, ValueError) as error:
        raise Untriable(
            f"it asks for images from {canary.sender_aet}, which Orthanc did not take: {error}"
        ) from error
    (study_id,) = orthanc.lookup(canary.study_uid)
    return study_id


async def _store(peer: Peer, calling_aet: str, canary: Canary) -> None:
    dataset = canary.dataset
    instance = Instance(dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.file_meta.TransferSyntaxUID)
    async with associate(peer, calling_aet, contexts_to_store([instance])) as association:
        answer = await association.store(part10(dataset))
        if answer.category not in {"success", "warning"}:
            raise ValueError(str(answer))


def _landed(database: Database, route: str, study_id: str, expected: Iterable[str], *, over: bool) -> Flight | None:
    """None: still under way."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT matched_routes, trouble FROM routing_study"
            " WHERE study_id = %(id)s AND evaluated_at IS NOT NULL AND evaluated_seq >= arrival_seq",
            id=study_id,
        )
    wanted = tuple(sorted(expected))
    if row is None:
        return Flight(route, "failed", wanted, "the router did not look at it in time") if over else None
    if route not in row["matched_routes"]:
        return Flight(
            route,
            "failed",
            wanted,
            f"the route did not take it{': ' if row['trouble'] else ''}{row['trouble'] or ''}",
        )
    if not wanted:
        return Flight(route, "decided")
    mine = {each.destination: each for each in desk.deliveries(database, study_id=study_id) if each.route == route}
    failed = [_story(mine[name]) for name in wanted if name in mine and mine[name].status in _FAILED]
    if failed:
        return Flight(route, "failed", wanted, "; ".join(failed))
    late = [name for name in wanted if name not in mine or mine[name].status is not Status.SUCCESS]
    if not late:
        return Flight(route, "delivered", wanted)
    told = [_story(mine[name]) if name in mine else f"{name}: nothing was planned" for name in late]
    return Flight(route, "failed", wanted, "; ".join(told)) if over else None


def _story(delivery: Delivery) -> str:
    return f"{delivery.destination}: {delivery.status}{f', {delivery.last_error}' if delivery.last_error else ''}"
