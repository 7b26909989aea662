"""All routes in force together, in the order they are looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from pacsops.routes import explain, matching
from pacsops.routes.explain import RouteExplanation
from pacsops.routes.matching import AetOf
from pacsops.routes.model import Route, Selection, Source, StudyFacts, When
from pacsops.routes.problems import Position, Problem, Problems


class RouteTable:
    """The routes of one file. Immutable, and pure: the same study always gives the same selections."""

    def __init__(self, routes: Iterable[Route], text: str, name: str = "routes.yml") -> None:
        self.routes = tuple(sorted(routes, key=lambda route: route.priority))
        """In order of evaluation: priority, lower first, then as in the file."""
        self.text = text
        self.name = name
        self.hash = hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"RouteTable({self.name!r}, {len(self.routes)} routes, {self.hash[:12]})"

    @property
    def destinations(self) -> frozenset[str]:
        """Every destination a route names, disabled ones included: enabling a route must not surprise."""
        return frozenset(destination for route in self.routes for destination in route.destinations)

    def of(self, source: Source) -> RouteTable:
        """The routes of what one source receives; text and hash stay those of the file."""
        return RouteTable((route for route in self.routes if route.source is source), self.text, self.name)

    @property
    def keywords(self) -> frozenset[str]:
        """The DICOM keywords that enabled routes look at."""
        return frozenset(
            field.field.keyword
            for route in self.routes
            if route.enabled
            for field in route.match
            if field.field.keyword is not None
        )

    def select(self, study: StudyFacts, aet_of: AetOf, *, when: When | None = None) -> list[Selection]:
        """What is to be sent where. `aet_of`: destination → its AE title, for the loop guard.

        `when`: only by the routes that wait for this; a final one that waits for anything else still ends the list.
        An image is left out of what goes to the system it came from, unless the route says `send_back`;
        a selection left empty by that is none. The order of `study.instances` does not matter.
        """
        return [
            selection
            for route, matching_instances in matching.matching_routes(self.routes, study)
            if when is None or route.when is when
            for selection in matching.selections(route, matching_instances, study, aet_of)
        ]

    def matched(self, study: StudyFacts) -> tuple[str, ...]:
        """Names of the routes that match, up to and with a final one, whether or not anything is left to send."""
        return tuple(route.name for route, _ in matching.matching_routes(self.routes, study))

    def instances_needing(self, study: StudyFacts, indexed: Collection[str]) -> frozenset[str]:
        """Identifiers of the instances whose tags beyond the `indexed` keywords decide something.

        These may still match a route that looks at such a tag, or several of them compete for
        `highest_resolution`. Evaluate again once their tags are complete.
        """
        return matching.instances_needing(self.routes, study, indexed)

    def explain(self, study: StudyFacts, aet_of: AetOf | None = None) -> list[RouteExplanation]:
        """Why each route matches or not. Without `aet_of` the selections ignore the loop guard."""
        return explain.explain(self.routes, study, aet_of or {})


def unknown_destinations(table: RouteTable, destinations: Collection[str]) -> list[Problem]:
    """A problem for every mention of a destination that is not one of `destinations`."""
    problems = Problems(table.name)
    for route in table.routes:
        for destination, at in zip(route.destinations, route.destination_positions, strict=True):
            report_unknown_destination(problems, route.name, destination, at, destinations)
    return list(problems.listed())


def report_unknown_destination(
    problems: Problems, route: str | None, destination: str, at: Position, destinations: Collection[str]
) -> None:
    if destination not in destinations:
        problems.add(
            at,
            f"unknown destination {destination!r}",
            route=route,
            allowed=", ".join(sorted(destinations)) or "none yet; `orthanc add-destination` adds one",
            misspelt=destination,
            candidates=destinations,
        )
