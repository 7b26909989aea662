"""Routes of what Orthanc and of what the gateway receives stand in one file, and keep out of each other's way."""

from __future__ import annotations

import pytest
from tests.unit.routes.builders import image, one_route, problems, study, table

from pacsops.routes import RoutesInvalid, Source, When, load_routes
from pacsops.routes.shadowing import shadowed

BOTH = """
    routes:
    - {name: inside, match: {modality: CT}, action: {to: PACS}}
    - {name: edge, source: gateway, match: {modality: CT}, action: {to: PACS}}
    - {name: later, source: gateway, when: study_stable, match: {modality: CT}, action: {to: ARCHIVE}}
"""
CT = study(image("1", "s1", Modality="CT"), image("2", "s2", Modality="SR"))


def test_a_route_is_of_orthanc_unless_it_says_otherwise() -> None:
    (route,) = one_route().routes
    assert route.source is Source.ORTHANC


def test_each_source_has_its_own_routes_of_the_same_file() -> None:
    whole = table(BOTH)
    assert [route.name for route in whole.of(Source.ORTHANC).routes] == ["inside"]
    assert [route.name for route in whole.of(Source.GATEWAY).routes] == ["edge", "later"]
    assert whole.of(Source.GATEWAY).hash == whole.hash


def test_a_moment_has_its_own_selections() -> None:
    of_gateway = table(BOTH).of(Source.GATEWAY)
    assert [chosen.destination for chosen in of_gateway.select(CT, {}, when=When.INSTANCE)] == ["PACS"]
    assert [chosen.destination for chosen in of_gateway.select(CT, {}, when=When.STUDY_STABLE)] == ["ARCHIVE"]
    assert of_gateway.select(CT, {}, when=When.SERIES_STABLE) == []
    assert of_gateway.matched(CT) == ("edge", "later")


@pytest.mark.parametrize("first", ["instance", "study_stable"])
def test_a_final_route_ends_the_list_whatever_it_waits_for(first: str) -> None:
    found = table(
        f"""
        routes:
        - {{name: a, source: gateway, when: {first}, final: true, match: {{modality: CT}}, action: {{to: A}}}}
        - {{name: b, source: gateway, match: {{modality: CT}}, action: {{to: B}}}}
        """
    )
    assert [chosen.destination for when in When for chosen in found.select(CT, {}, when=when)] == ["A"]


def test_a_final_route_of_one_source_hides_none_of_the_other() -> None:
    text = "{name: %s, source: %s, final: true, match: {modality: CT}, action: {to: A}}"
    routes = "routes:\n- " + text % ("a", "orthanc") + "\n- " + text % ("b", "%s")
    assert shadowed(load_routes(routes % "gateway").routes) == []
    assert [route.name for route, _ in shadowed(load_routes(routes % "orthanc").routes)] == ["b"]


def test_orthancs_routes_cannot_say_when() -> None:
    (problem,) = problems(
        "routes:\n- {name: r, when: study_stable, match: {modality: CT}, action: {to: A}}", destinations=None
    )
    assert "source: gateway" in problem.message


def test_an_unknown_source_or_moment_is_a_problem() -> None:
    found = problems(
        "routes:\n- {name: r, source: gatway, match: {modality: CT}, action: {to: A}}\n"
        "- {name: q, source: gateway, when: stable, match: {modality: CT}, action: {to: A}}",
        destinations=None,
    )
    assert [(problem.route, problem.allowed) for problem in found] == [
        ("r", "orthanc, gateway"),
        ("q", "instance, series_stable, study_stable"),
    ]


def test_each_source_names_its_own_destinations() -> None:
    text = (
        "routes:\n- {name: r, match: {modality: CT}, action: {to: EDGE}}\n"
        "- {name: q, source: gateway, match: {modality: CT}, action: {to: [EDGE, PACS]}}"
    )
    with pytest.raises(RoutesInvalid) as refused:
        load_routes(text, destinations={"PACS"}, gateway_destinations={"EDGE"})
    assert [problem.message for problem in refused.value.problems] == [
        "unknown destination 'EDGE'",
        "unknown destination 'PACS'",
    ]
    assert [problem.line for problem in refused.value.problems] == [2, 3]


def test_an_image_is_not_sent_to_a_pool_that_one_of_its_members_sent_it_from() -> None:
    routes = one_route("{modality: [CT, SR]}", to="AI", send="instance")
    facts = study(image("1", Modality="CT", sender="SCANNER"), image("2", Modality="SR", sender="AI2"))
    chosen = routes.select(facts, {"AI": frozenset({"AI1", "AI2"})})
    assert [each.instances for each in chosen] == [("1",)]


def test_the_keywords_of_a_table_are_those_its_enabled_routes_look_at() -> None:
    found = table(
        """
        routes:
        - {name: a, match: {modality: CT, source_aet: X, KVP: "120"}, action: {to: A}}
        - {name: b, enabled: false, match: {BodyPartExamined: HEAD}, action: {to: A}}
        """
    )
    assert found.keywords == {"Modality", "KVP"}
