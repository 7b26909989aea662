"""Routes that can never match: an earlier `final` one takes every image they ask for.

What is told is certain; some routes that are hidden all the same are not told, such as one behind two others that
only together take everything.
"""

from __future__ import annotations

from collections.abc import Iterable

from pacsops.routes.conditions import Condition, Contains, EndsWith, Equals, In, Not, StartsWith
from pacsops.routes.model import FieldMatch, Route


def shadowed(routes: Iterable[Route]) -> list[tuple[Route, Route]]:
    """Enabled routes that are never looked at, each with the final one before it that takes their images.

    Args:
        routes: in the order of evaluation, as `RouteTable.routes`.
    """
    finals: list[Route] = []
    found = []
    for route in routes:
        if not route.enabled:
            continue
        hiding = next((final for final in finals if _takes_all_of(final, route)), None)
        if hiding is not None:
            found.append((route, hiding))
        elif route.final:
            finals.append(route)
    return found


def _takes_all_of(final: Route, route: Route) -> bool:
    """Whether each image that satisfies `route` satisfies `final`, whose every line follows from one of `route`."""
    return final.source is route.source and all(
        any(_implies(said, wanted) for said in route.match) for wanted in final.match
    )


def _implies(said: FieldMatch, wanted: FieldMatch) -> bool:
    if said.field.keyword != wanted.field.keyword:
        return False
    return all(any(implies(one, other) for one in said.conditions) for other in wanted.conditions)


def implies(one: Condition, other: Condition) -> bool:
    """Whether every value that satisfies `one` satisfies `other`. False where that is not certain."""
    if one == other:
        return True
    if isinstance(other, Not):
        # A value with several components may satisfy anything besides, so nothing positive rules another out.
        return isinstance(one, Not) and implies(other.condition, one.condition)
    match one, other:
        case (Equals(text), _):
            certain = other.holds(text)
        case (In(texts), _):
            certain = all(other.holds(text) for text in texts)
        case (StartsWith(text), StartsWith(part)):
            certain = text.casefold().startswith(part.casefold())
        case (EndsWith(text), EndsWith(part)):
            certain = text.casefold().endswith(part.casefold())
        case (StartsWith(text) | EndsWith(text) | Contains(text), Contains(part)):
            certain = part.casefold() in text.casefold()
        case _:
            certain = False
    return certain
