"""A changed routes.yml against studies that are there already: which deliveries it adds and which it takes away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pacsops.routes.model import Level, Route, Selection, StudyFacts
from pacsops.routes.table import RouteTable

_Key = tuple[str, str, Level, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDelivery:
    """A delivery that only one of the two files makes."""

    study_id: str
    route: str
    destination: str
    level: Level
    resource_id: str
    images: int


@dataclass(slots=True, kw_only=True)
class RouteDifference:
    """Deliveries of one route to one destination under the old and the new file."""

    before: int = 0
    after: int = 0
    gained: int = 0
    lost: int = 0
    changed: int = 0
    """In both, with other images."""


@dataclass(slots=True, kw_only=True)
class DestinationDifference:
    """What a destination gets more and less of, by whatever route: renaming a route changes nothing here."""

    studies_gained: int = 0
    """Studies it gets an image of and did not before."""
    studies_lost: int = 0
    images_gained: int = 0
    images_lost: int = 0

    def __bool__(self) -> bool:
        return bool(self.images_gained or self.images_lost)


@dataclass(slots=True)
class Difference:
    """The sum over all studies looked at. `routes` by (route, destination), both in the order they were met."""

    gained: list[ReplayedDelivery] = field(default_factory=list)
    lost: list[ReplayedDelivery] = field(default_factory=list)
    routes: dict[tuple[str, str], RouteDifference] = field(default_factory=dict)
    destinations: dict[str, DestinationDifference] = field(default_factory=dict)

    @property
    def studies(self) -> tuple[str, ...]:
        """Ids of those the change is about, in the order they were met."""
        return tuple(dict.fromkeys(delivery.study_id for delivery in [*self.gained, *self.lost]))

    def add(self, study: StudyFacts, before: Iterable[Selection], after: Iterable[Selection]) -> None:
        """Count one study in."""
        old, new = _by_key(before), _by_key(after)
        for key in sorted(old.keys() | new.keys()):
            route, destination, _, _ = key
            of_route = self.routes.setdefault((route, destination), RouteDifference())
            of_route.before += key in old
            of_route.after += key in new
            if key not in old:
                of_route.gained += 1
                self.gained.append(_delivery(study, key, new[key]))
            elif key not in new:
                of_route.lost += 1
                self.lost.append(_delivery(study, key, old[key]))
            else:
                of_route.changed += old[key] != new[key]
        for destination in sorted({key[1] for key in old.keys() | new.keys()}):
            had, gets = _images(old, destination), _images(new, destination)
            of_destination = self.destinations.setdefault(destination, DestinationDifference())
            of_destination.studies_gained += not had
            of_destination.studies_lost += not gets
            of_destination.images_gained += len(gets - had)
            of_destination.images_lost += len(had - gets)


def what_differs(before: RouteTable, after: RouteTable) -> tuple[RouteTable, RouteTable]:
    """The two files without the routes that decide alike in both: these need not be asked about any study.

    Where a route is final, what another one decides depends on it: then all are kept.
    """
    if any(route.final and route.enabled for route in (*before.routes, *after.routes)):
        return before, after
    alike = {_decision(route) for route in before.routes} & {_decision(route) for route in after.routes}

    def remaining(table: RouteTable) -> RouteTable:
        routes = (route for route in table.routes if route.enabled and _decision(route) not in alike)
        return RouteTable(routes, table.text, table.name)

    return remaining(before), remaining(after)


def _decision(route: Route) -> tuple[object, ...]:
    """All that what a route sends depends on."""
    return (route.name, route.enabled, route.match, frozenset(route.destinations), route.send, route.send_back)


def _by_key(selections: Iterable[Selection]) -> Mapping[_Key, frozenset[str]]:
    return {
        (chosen.route.name, chosen.destination, chosen.level, chosen.resource_id): frozenset(chosen.instances)
        for chosen in selections
    }


def _images(deliveries: Mapping[_Key, frozenset[str]], destination: str) -> frozenset[str]:
    return frozenset().union(*(images for key, images in deliveries.items() if key[1] == destination))


def _delivery(study: StudyFacts, key: _Key, images: frozenset[str]) -> ReplayedDelivery:
    route, destination, level, resource_id = key
    return ReplayedDelivery(
        study_id=study.study_id,
        route=route,
        destination=destination,
        level=level,
        resource_id=resource_id,
        images=len(images),
    )
