"""A changed routes.yml over the studies Orthanc holds, before it is applied. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pacsops.delivery.model import RoutesVersion
from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc import (
    INDEXED_KEYWORDS,
    SERIES_KEYWORDS,
    Orthanc,
    all_modalities,
    complete,
    facts_of_studies,
)
from pacsops.router.evaluate import touched_since
from pacsops.routes import RouteTable, Send, Source, StudyFacts, load_routes
from pacsops.routes.replay import Difference, what_differs

_PAGE = 200

Progress = Callable[[int, int], None]
"""Called with (studies looked at, studies Orthanc holds)."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a changed file would have done to the studies looked at."""

    studies: int
    difference: Difference
    not_replayed: tuple[str, ...] = ()
    """Routes of the changed file that are the gateway's: what it received is not in Orthanc."""


def replay(
    orthanc: Orthanc,
    before: RouteTable,
    after: RouteTable,
    since: datetime | None,
    on_progress: Progress | None = None,
) -> Replay:
    """Ask both files about every study touched since a moment, and compare what they send.

    Only routes of what Orthanc receives; those that decide alike in both are not asked. Studies' facts come in bulk
    from Orthanc's index; an image's file is read only where a changed route looks at a tag that is not in it.

    Raises:
        OrthancUnreachable, OrthancRefused
    """
    left_out = tuple(route.name for route in after.of(Source.GATEWAY).routes)
    before, after = what_differs(before.of(Source.ORTHANC), after.of(Source.ORTHANC))
    aet_of = {name: modality.aet for name, modality in all_modalities(orthanc).items()}
    difference, looked_at, scanned = Difference(), 0, 0
    if not before.routes and not after.routes:
        return Replay(0, difference, left_out)
    held = orthanc.statistics().studies if on_progress else 0
    by_series = not any(_looks_at_images(table) for table in (before, after))
    while page := orthanc.studies_page(since=scanned, limit=_PAGE):
        recent = [header for header in page if touched_since(header, since)]
        for _, indexed in facts_of_studies(orthanc, recent, by_series=by_series):
            try:
                facts = _completed(orthanc, indexed, before, after)
            except NotFoundInOrthanc:
                continue  # deleted meanwhile
            difference.add(facts, before.select(facts, aet_of), after.select(facts, aet_of))
            looked_at += 1
        scanned += len(page)
        if on_progress:
            on_progress(scanned, held)
    return Replay(looked_at, difference, left_out)


def table_of(version: RoutesVersion | None) -> RouteTable:
    """The routes of a file the router has met; none before the first."""
    return load_routes(version.text if version else "routes: []")


def sentences(found: Replay) -> list[str]:
    """What changes, for people."""
    difference = found.difference
    left_out = [f"Not replayed, being the gateway's: {', '.join(found.not_replayed)}"] if found.not_replayed else []
    if not difference.gained and not difference.lost and not any(difference.destinations.values()):
        return ["No delivery of the studies looked at is gained or lost.", *left_out]
    return [
        *(
            f"{route} → {destination}: {row.before} before, {row.after} after (+{row.gained} -{row.lost})"
            for (route, destination), row in difference.routes.items()
        ),
        *(
            f"{name} gets {sums.images_gained} images more ({sums.studies_gained} studies more),"
            f" {sums.images_lost} less ({sums.studies_lost} studies less)"
            for name, sums in difference.destinations.items()
        ),
        f"{len(difference.gained)} deliveries gained, {len(difference.lost)} lost in {len(difference.studies)} of"
        f" {found.studies} studies",
        *left_out,
    ]


def _looks_at_images(table: RouteTable) -> bool:
    """Whether a route asks for more than all images of a series share."""
    return any(
        route.send is Send.HIGHEST_RESOLUTION
        or any(field.field.keyword not in (SERIES_KEYWORDS | {None}) for field in route.match)
        for route in table.routes
        if route.enabled
    )


def _completed(orthanc: Orthanc, facts: StudyFacts, *tables: RouteTable) -> StudyFacts:
    wanting = frozenset[str]().union(*(table.instances_needing(facts, INDEXED_KEYWORDS) for table in tables))
    return complete(orthanc, facts, wanting) if wanting else facts
