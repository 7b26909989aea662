"""Which routes match a study, and what each of them sends."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from pacsops.routes.conditions import unpadded
from pacsops.routes.model import FieldMatch, InstanceFacts, Route, Selection, Send, StudyFacts

AetOf = Mapping[str, str | frozenset[str]]
"""Destination → its AE title, or those of all that share its work, for the loop guard."""

_RESOLUTION = frozenset({"Rows", "Columns", "InstanceNumber", "SOPInstanceUID"})
"""What `highest_resolution` decides by."""


def matching_routes(routes: Iterable[Route], study: StudyFacts) -> Iterator[tuple[Route, tuple[InstanceFacts, ...]]]:
    """Each enabled route with the images that satisfy it, in order, up to and with a final one."""
    for route in routes:
        if not route.enabled:
            continue
        matching = matching_instances(route, study)
        if matching:
            yield route, matching
            if route.final:
                return


def matching_instances(route: Route, study: StudyFacts) -> tuple[InstanceFacts, ...]:
    """The images that satisfy every condition of the route by themselves."""
    return tuple(_satisfying(route.match, study.instances))


def selections(
    route: Route, matching: Collection[InstanceFacts], study: StudyFacts, aet_of: AetOf
) -> Iterator[Selection]:
    """What a route that `matching` satisfies sends, destination by destination."""
    for destination in route.destinations:
        guarded = None if route.send_back else aet_of.get(destination)
        yield from _portions(route, destination, matching, _without_sender(study.instances, guarded), study)


def instances_needing(routes: Iterable[Route], study: StudyFacts, indexed: Collection[str]) -> frozenset[str]:
    """Images whose tags beyond the `indexed` keywords decide something; see `RouteTable.instances_needing`."""
    needing: set[str] = set()
    for route in routes:
        if not route.enabled:
            continue
        known = [field for field in route.match if field.field.keyword is None or field.field.keyword in indexed]
        certain = len(known) == len(route.match)
        possible = [instance.instance_id for instance in _satisfying(known, study.instances)]
        to_compare = route.send is Send.HIGHEST_RESOLUTION and len(possible) > 1 and not _RESOLUTION.issubset(indexed)
        if to_compare or not certain:
            needing.update(possible)
        if route.final and certain and possible:
            break
    return frozenset(needing)


def _satisfying(fields: Iterable[FieldMatch], instances: Sequence[InstanceFacts]) -> Sequence[InstanceFacts]:
    """Those that satisfy every field. A value is judged once: the images of a study share most of theirs."""
    for field in fields:
        verdicts: dict[str | None, bool] = {}
        remaining = []
        for instance in instances:
            value = instance.value(field.field)
            if value not in verdicts:
                verdicts[value] = field.holds(value)
            if verdicts[value]:
                remaining.append(instance)
        instances = remaining
    return instances


def _without_sender(instances: Sequence[InstanceFacts], aet: str | frozenset[str] | None) -> list[InstanceFacts]:
    """Leave out what came from `aet` itself. AE titles are case-sensitive, padding aside (PS3.5 section 6.2)."""
    if aet is None:
        return list(instances)
    theirs = {unpadded(title) for title in ((aet,) if isinstance(aet, str) else aet)}
    return [instance for instance in instances if unpadded(instance.sender_aet) not in theirs]


def _portions(
    route: Route,
    destination: str,
    matching: Collection[InstanceFacts],
    sendable: Sequence[InstanceFacts],
    study: StudyFacts,
) -> Iterator[Selection]:
    wanted = {instance.instance_id for instance in matching}
    candidates = [instance for instance in sendable if instance.instance_id in wanted]
    match route.send:
        case Send.STUDY:
            if sendable:
                yield Selection(route, destination, "study", study.study_id, _ids(sendable))
        case Send.SERIES:
            for series_id in sorted({instance.series_id for instance in matching}):
                of_series = [instance for instance in sendable if instance.series_id == series_id]
                if of_series:
                    yield Selection(route, destination, "series", series_id, _ids(of_series))
        case Send.INSTANCE:
            for instance_id in _ids(candidates):
                yield Selection(route, destination, "instance", instance_id, (instance_id,))
        case Send.HIGHEST_RESOLUTION:
            if candidates:
                chosen = min(candidates, key=_resolution_order).instance_id
                yield Selection(route, destination, "instance", chosen, (chosen,))


def _ids(instances: Iterable[InstanceFacts]) -> tuple[str, ...]:
    return tuple(sorted(instance.instance_id for instance in instances))


def _resolution_order(instance: InstanceFacts) -> tuple[int, float, str, str]:
    """Most pixels first; of equals the lowest InstanceNumber, then the UID decides, so the choice is stable."""
    tags = instance.tags
    pixels = (_whole_number(tags.get("Rows")) or 0) * (_whole_number(tags.get("Columns")) or 0)
    number = _whole_number(tags.get("InstanceNumber"))
    return (
        -pixels,
        float("inf") if number is None else number,
        unpadded(tags.get("SOPInstanceUID")),
        instance.instance_id,
    )


def _whole_number(value: str | None) -> int | None:
    """A DICOM US or IS value; IS has at most 12 characters (PS3.5 section 6.2)."""
    text = unpadded(value)
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,12}", text) else None
