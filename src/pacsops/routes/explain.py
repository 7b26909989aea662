"""Why a route matches a study or not, condition by condition, for `orthanc routes explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pacsops.routes.conditions import Condition, unpadded
from pacsops.routes.matching import AetOf, matching_instances, selections
from pacsops.routes.model import FieldMatch, InstanceFacts, Route, Selection, Source, StudyFacts

_MOST_VALUES = 8
"""Distinct values of a field worth showing; a study of 2000 images may have as many."""


@dataclass(frozen=True, slots=True)
class ConditionExplanation:
    """One condition: what it expects, whether the witness satisfies it, how many images do."""

    condition: str
    held: bool
    held_by: int

    def as_dict(self) -> dict[str, Any]:
        return {"condition": self.condition, "held": self.held, "held_by": self.held_by}


@dataclass(frozen=True, slots=True)
class FieldExplanation:
    """One field: the witness's value (None: absent), the study's commonest values, the conditions on it."""

    field: str
    actual: str | None
    values: tuple[str | None, ...]
    held: bool
    held_by: int
    conditions: tuple[ConditionExplanation, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "field": self.field,
            "actual": self.actual,
            "values": list(self.values),
            "held": self.held,
            "held_by": self.held_by,
            "conditions": [condition.as_dict() for condition in self.conditions],
        }


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """One route against one study.

    `evaluated` is False for a disabled route and after a final one; `fields` are explained all the same.
    `witness` is the image that satisfies most conditions, None for a study without images.
    """

    route: Route
    evaluated: bool
    matched: bool
    reason: str
    instances: int
    matching: int
    witness: str | None
    fields: tuple[FieldExplanation, ...]
    selections: tuple[Selection, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "route": self.route.name,
            "source": self.route.source,
            "when": self.route.when if self.route.source is Source.GATEWAY else None,
            "priority": self.route.priority,
            "deliver_within": self.route.deliver_within,
            "evaluated": self.evaluated,
            "matched": self.matched,
            "reason": self.reason,
            "instances": self.instances,
            "matching": self.matching,
            "witness": self.witness,
            "fields": [field.as_dict() for field in self.fields],
            "selections": [
                {
                    "destination": selection.destination,
                    "level": selection.level,
                    "resource_id": selection.resource_id,
                    "instances": list(selection.instances),
                }
                for selection in self.selections
            ],
        }


def explain(routes: Iterable[Route], study: StudyFacts, aet_of: AetOf) -> list[RouteExplanation]:
    """Each of `routes`, in order of evaluation."""
    explanations = []
    ended_by: str | None = None
    for route in routes:
        explanation = _explain(route, study, aet_of, ended_by)
        explanations.append(explanation)
        if explanation.matched and route.final:
            ended_by = route.name
    return explanations


def _explain(route: Route, study: StudyFacts, aet_of: AetOf, ended_by: str | None) -> RouteExplanation:
    evaluated = route.enabled and ended_by is None
    matching = matching_instances(route, study)
    matched = evaluated and bool(matching)
    witness = min(study.instances, key=lambda instance: _unsatisfied(route, instance), default=None)
    fields = tuple(_explain_field(field, study, witness) for field in route.match)
    selected = tuple(selections(route, matching, study, aet_of)) if matched else ()
    if not route.enabled:
        reason = "the route is disabled"
    elif ended_by is not None:
        reason = f"the final route {ended_by!r} matched before it"
    elif matched:
        reason = _why_sent(len(matching), len(study.instances), selected)
    else:
        reason = _why_unmatched(fields, study)
    return RouteExplanation(
        route=route,
        evaluated=evaluated,
        matched=matched,
        reason=reason,
        instances=len(study.instances),
        matching=len(matching),
        witness=witness.instance_id if witness else None,
        fields=fields,
        selections=selected,
    )


def _unsatisfied(route: Route, instance: InstanceFacts) -> tuple[int, str]:
    unsatisfied = sum(
        not condition.holds(instance.value(field.field)) for field in route.match for condition in field.conditions
    )
    return unsatisfied, instance.instance_id


def _explain_field(match: FieldMatch, study: StudyFacts, witness: InstanceFacts | None) -> FieldExplanation:
    values = Counter(unpadded(instance.value(match.field)) or None for instance in study.instances)
    # Few distinct values usually stand for thousands of images: each is tested once.
    commonest = sorted(values, key=lambda value: (-values[value], value or ""))
    actual = (unpadded(witness.value(match.field)) or None) if witness else None

    def held_by(*conditions: Condition) -> int:
        return sum(
            count for value, count in values.items() if all(condition.holds(value) for condition in conditions)
        )

    conditions = tuple(
        ConditionExplanation(
            condition=str(condition),
            held=witness is not None and condition.holds(actual),
            held_by=held_by(condition),
        )
        for condition in match.conditions
    )
    return FieldExplanation(
        field=match.field.name,
        actual=actual,
        values=tuple(commonest[:_MOST_VALUES]),
        held=all(condition.held for condition in conditions),
        held_by=held_by(*match.conditions),
        conditions=conditions,
    )


def _why_sent(matching: int, instances: int, selected: tuple[Selection, ...]) -> str:
    images = f"{matching} of {_images(instances)} {'satisfies' if matching == 1 else 'satisfy'} all of them"
    if not selected:
        return f"{images}, but they came from the destination itself and the route does not say send_back"
    return images


def _why_unmatched(fields: tuple[FieldExplanation, ...], study: StudyFacts) -> str:
    if not study.instances:
        return "the study has no images"
    nowhere = [
        f"{field.field} {condition.condition}"
        for field in fields
        for condition in field.conditions
        if condition.held_by == 0
    ]
    if nowhere:
        return f"none of {_images(len(study.instances))} satisfies: {'; '.join(nowhere)}"
    return "each condition holds for some image, but no single image satisfies all of them"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
