"""What a changed file adds and takes away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.routes.builders import table

from pacsops.routes import InstanceFacts, RouteTable, StudyFacts
from pacsops.routes.replay import Difference, what_differs


def study(*modalities: str, name: str = "study", sender: str | None = None) -> StudyFacts:
    return StudyFacts(
        name,
        tuple(
            InstanceFacts(f"{name}-i{n}", f"{name}-s{n}", sender, {"Modality": modality})
            for n, modality in enumerate(modalities)
        ),
    )


def routes(*said: str) -> RouteTable:
    return table("routes:\n" + "\n".join(f"- {route}" for route in said) if said else "routes: []")


def compare(before: RouteTable, after: RouteTable, *studies: StudyFacts) -> Difference:
    difference = Difference()
    for facts in studies:
        difference.add(facts, before.select(facts, {}), after.select(facts, {}))
    return difference


CT_TO_A = "{name: ct, match: {modality: CT}, action: {to: A}}"


def test_a_new_destination_gains_what_the_route_matches_and_nothing_is_lost() -> None:
    after = routes("{name: ct, match: {modality: CT}, action: {to: [A, B]}}")

    found = compare(routes(CT_TO_A), after, study("CT", "CT", name="s1"), study("MR", name="s2"))

    assert [(d.study_id, d.destination, d.images) for d in found.gained] == [("s1", "B", 2)]
    assert found.lost == []
    assert found.studies == ("s1",)
    assert (found.routes["ct", "A"].before, found.routes["ct", "A"].after) == (1, 1)
    assert (found.destinations["B"].studies_gained, found.destinations["B"].images_gained) == (1, 2)
    assert not found.destinations["A"]


def test_a_renamed_route_moves_deliveries_and_its_destination_gets_the_same() -> None:
    found = compare(routes(CT_TO_A), routes(CT_TO_A.replace("name: ct", "name: scans")), study("CT"))

    assert [(d.route, d.destination) for d in found.gained] == [("scans", "A")]
    assert [(d.route, d.destination) for d in found.lost] == [("ct", "A")]
    assert not found.destinations["A"]


def test_a_delivery_of_other_images_is_changed_not_gained() -> None:
    before = routes("{name: all, match: {modality: CT}, action: {to: A}}")
    after = routes("{name: all, match: {modality: CT}, action: {to: A}, send_back: true}")
    facts = study("CT", sender="A")
    mixed = StudyFacts("study", (*facts.instances, *study("MR", "MR", name="other").instances))
    difference = Difference()
    difference.add(mixed, before.select(mixed, {"A": "A"}), after.select(mixed, {"A": "A"}))

    row = difference.routes["all", "A"]
    assert (row.gained, row.lost, row.changed) == (0, 0, 1)
    assert (difference.destinations["A"].images_gained, difference.destinations["A"].studies_gained) == (1, 0)


def test_routes_that_decide_alike_need_not_be_asked() -> None:
    common = "{name: sr, match: {modality: SR}, action: {to: [A, B]}, retry: {max_attempts: 9}, priority: 5}"
    same = "{name: sr, match: {modality: SR}, action: {to: [B, A]}, description: reports, deliver_within: 20m}"

    before, after = what_differs(routes(CT_TO_A, common), routes(CT_TO_A.replace("CT}", "MR}"), same))

    assert [[route.name for route in each.routes] for each in (before, after)] == [["ct"], ["ct"]]


def test_where_a_route_is_final_all_are_asked() -> None:
    final = "{name: sr, match: {modality: SR}, action: {to: A}, final: true}"

    before, after = what_differs(routes(CT_TO_A, final), routes(CT_TO_A, final))

    assert len(before.routes) == len(after.routes) == 2


_route = st.builds(
    (
        "{{name: {}, match: {{modality: {}}}, action: {{to: {}, send: {}}}, enabled: {}, final: {}, priority: {}}}"
    ).format,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["CT", "MR", "SR"]),
    st.sampled_from(["A", "B", "[A, B]"]),
    st.sampled_from(["study", "series", "instance"]),
    st.sampled_from(["true", "false"]),
    st.sampled_from(["true", "false", "false"]),
    st.integers(1, 3),
)
_file = st.lists(_route, max_size=3, unique_by=lambda said: said.split(",")[0]).map(lambda said: routes(*said))
_studies = st.lists(st.lists(st.sampled_from(["CT", "MR", "SR"]), min_size=1, max_size=4), max_size=3)


@given(_file, _file, _studies)
def test_leaving_out_what_decides_alike_changes_no_verdict(
    before: RouteTable, after: RouteTable, modalities: list[list[str]]
) -> None:
    studies = [study(*said, name=f"s{n}") for n, said in enumerate(modalities)]

    whole, short = compare(before, after, *studies), compare(*what_differs(before, after), *studies)

    assert (short.gained, short.lost) == (whole.gained, whole.lost)


@given(_file, _studies)
def test_the_same_file_changes_nothing(file: RouteTable, modalities: list[list[str]]) -> None:
    found = compare(file, file, *(study(*said, name=f"s{n}") for n, said in enumerate(modalities)))

    assert (found.gained, found.lost, any(found.destinations.values())) == ([], [], False)
