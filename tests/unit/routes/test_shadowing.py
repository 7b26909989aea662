"""A route is called hidden only when it is: never when some image could still reach it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.routes import load_routes
from pacsops.routes.conditions import OF_ONE_TEXT, Condition, In, Not
from pacsops.routes.shadowing import implies, shadowed

_TEXTS = st.text(alphabet="aAbBc ", min_size=1, max_size=4)
_ONE_TEXT = st.builds(
    lambda name, text: OF_ONE_TEXT[name](text), st.sampled_from([n for n in OF_ONE_TEXT if n != "matches"]), _TEXTS
)
_SEVERAL = st.lists(_TEXTS, min_size=1, max_size=3).map(lambda texts: In(tuple(texts)))
_CONDITIONS = st.one_of(_ONE_TEXT, _SEVERAL, _SEVERAL.map(Not))
_VALUES = st.one_of(st.none(), _TEXTS, st.lists(_TEXTS, min_size=2, max_size=3).map("\\".join))


@given(one=_CONDITIONS, other=_CONDITIONS, value=_VALUES)
def test_what_follows_from_a_condition_holds_for_every_value_that_satisfies_it(
    one: Condition, other: Condition, value: str | None
) -> None:
    if implies(one, other) and one.holds(value):
        assert other.holds(value), f"{one} does not imply {other}: {value!r}"


def routes(*matches: str, final: bool = True) -> str:
    lines = ["routes:"]
    for number, match in enumerate(matches):
        lines += [f"  - name: r{number}", f"    match: {match}", "    action: {to: PACS}"]
        lines += ["    final: true"] if final and number == 0 else []
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ("{modality: {equals: CT}}", "{modality: {equals: ct}}", True),
        ("{modality: {in: [CT, MR]}}", "{modality: {equals: CT}}", True),
        ("{modality: {equals: CT}}", "{modality: {in: [CT, MR]}}", False),
        ("{study_description: {contains: leg}}", "{study_description: {contains: Leg Length}}", True),
        (
            "{study_description: {contains: leg}}",
            "{study_description: {starts_with: Leg L}, modality: {equals: C}}",
            True,
        ),
        ("{study_description: {contains: leg}}", "{modality: {equals: CR}}", False),
        ("{modality: {equals: CT}, station_name: {equals: A}}", "{modality: {equals: CT}}", False),
        ("{modality: {not_in: [SR, PR]}}", "{modality: {not_in: [SR, PR, KO]}}", True),
        ("{modality: {not_equals: SR}}", "{modality: {equals: CT}}", False),
    ],
)
def test_a_route_behind_a_final_one_is_hidden_when_it_asks_for_the_same_or_less(
    first: str, second: str, hidden: bool
) -> None:
    table = load_routes(routes(first, second))

    assert [(route.name, by.name) for route, by in shadowed(table.routes)] == ([("r1", "r0")] if hidden else [])
    assert shadowed(load_routes(routes(first, second, final=False)).routes) == []


def test_the_order_of_evaluation_counts_and_a_disabled_route_hides_nothing() -> None:
    text = routes("{modality: {equals: CT}}", "{modality: {equals: CT}}")
    earlier = text.replace("- name: r1", "- name: r1\n    priority: 1")
    disabled = text.replace("- name: r0", "- name: r0\n    enabled: false")

    assert shadowed(load_routes(earlier).routes) == []
    assert shadowed(load_routes(disabled).routes) == []
