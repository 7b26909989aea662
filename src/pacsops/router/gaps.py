"""Deliveries whose destination lacks images it took: asked about days later, and owed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pacsops.database import Database
from pacsops.delivery import looks, verification
from pacsops.delivery.model import Method
from pacsops.delivery.verification import Delivered
from pacsops.dimse.presence import Finder, Identified
from pacsops.errors import DestinationMute
from pacsops.orthanc.presence import finder, identified
from pacsops.router.site import Site
from pacsops.router.verify import LOG, compared

_BATCH = 50
_SILENCES = 3  # deliveries in a row that a destination gives no answer about: it is not asked about more

Wanted = tuple[str, str, Method]
"""Source of deliveries, destination, and how it is asked."""
Progress = Callable[[str, int], None]
"""Called with a destination's name and how many of its deliveries were asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A delivery whose destination lacks images."""

    delivery_id: int
    study_id: str
    route: str
    images: int
    """How many it lacks."""


@dataclass(slots=True, kw_only=True)
class Gaps:
    """What one destination was asked, and what it lacks."""

    destination: str
    source: str
    """Whose deliveries: orthanc, gateway."""
    method: Method
    asked: int = 0
    """Deliveries it gave an answer about."""
    lacking: list[Gap] = field(default_factory=list)
    unanswered: int = 0
    reason: str | None = None
    """Why it gave no answer about those."""
    gone: int = 0
    """Deliveries of which Orthanc no longer holds every image: these it cannot be asked about."""
    requested: int = 0
    """Deliveries about which it is asked later: by storage commitment, whose answers the router looks for, or by the
    gateway, which alone reaches its destinations."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "source": self.source,
            "method": self.method.value,
            "asked": self.asked,
            "lacking": len(self.lacking),
            "images": sum(gap.images for gap in self.lacking),
            "unanswered": self.unanswered,
            "reason": self.reason,
            "gone": self.gone,
            "requested": self.requested,
        }


def wanted(database: Database) -> list[Wanted]:
    """Every destination that is to be asked for what it took, by source and name."""
    return [
        (source, name, method)
        for source in ("orthanc", "gateway")
        for name, method in sorted(verification.methods(database, source).items())
    ]


def find_gaps(
    site: Site,
    destinations: Iterable[Wanted],
    since: datetime,
    *,
    apply: bool = True,
    on_progress: Progress | None = None,
) -> list[Gaps]:
    """Ask destinations about everything they took since a moment; what they lack is owed again, unless not `apply`.

    Raises:
        OrthancUnreachable, DatabaseUnreachable: what was found until then is owed already.
    """
    found = []
    for source, name, method in destinations:
        gaps = Gaps(destination=name, source=source, method=method)
        if source == "gateway" or method is Method.STORAGE_COMMITMENT:
            gaps.requested = verification.ask_anew(site.database, name, since, dry_run=not apply, source=source)
        else:
            _ask(site, gaps, since, apply=apply, on_progress=on_progress)
        found.append(gaps)
    return found


def _ask(site: Site, gaps: Gaps, since: datetime, *, apply: bool, on_progress: Progress | None) -> None:
    after, silences = 0, 0
    while batch := verification.delivered_since(site.database, gaps.destination, since, after=after, most=_BATCH):
        after = batch[-1].delivery_id
        images = _images(site, batch)
        asking = finder(site.orthanc, gaps.destination)  # of its own a batch: it remembers what it was told
        for delivered in batch:
            if silences == _SILENCES:
                gaps.unanswered += 1
                continue
            try:
                _compare(site, gaps, delivered, asking, images, apply=apply)
                silences = 0
            except DestinationMute as mute:
                silences += 1
                gaps.unanswered += 1
                gaps.reason = str(mute)
        if on_progress:
            on_progress(gaps.destination, gaps.asked)


def _compare(
    site: Site, gaps: Gaps, delivered: Delivered, asking: Finder, images: Mapping[str, Identified], *, apply: bool
) -> None:
    held = [images[instance] for instance in delivered.instances if instance in images]
    found = compared(delivered, held, asking)
    if found.lacking:
        looks.believe(site.database, delivered, found)
    if found.lacking and (not apply or looks.owe_again(site.database, LOG, delivered, found.lacking)):
        gaps.lacking.append(
            Gap(
                delivery_id=delivered.delivery_id,
                study_id=delivered.study_id,
                route=delivered.route,
                images=len(found.lacking),
            )
        )
    elif found.gone:
        gaps.gone += 1
        return
    elif apply and not found.lacking:
        verification.has_all(site.database, delivered, gaps.method)
    gaps.asked += 1


def _images(site: Site, batch: Sequence[Delivered]) -> dict[str, Identified]:
    """By Orthanc id, what it still holds of a batch."""
    ids = sorted({instance for delivered in batch for instance in delivered.instances})
    return {image.instance_id: image for image in identified(site.orthanc, ids)}
