import json

from hypothesis import given
from tests.unit.routes.builders import image, one_route, study, table
from tests.unit.routes.test_matching import AET_OF, EVERY_PORTION, studies

from pacsops.routes import RouteExplanation, RouteTable, StudyFacts


def the_one(routes: RouteTable, facts: StudyFacts) -> RouteExplanation:
    (explanation,) = routes.explain(facts, AET_OF)
    return explanation


def test_a_match_says_how_many_images_satisfy_it_and_what_is_sent() -> None:
    facts = study(image("a", Modality="CT"), image("b", Modality="CT"), image("c", Modality="SR"))
    explained = the_one(one_route("{modality: CT}", send="instance"), facts)
    assert explained.matched
    assert (explained.matching, explained.instances) == (2, 3)
    assert explained.reason == "2 of 3 images satisfy all of them"
    assert [(s.destination, s.resource_id) for s in explained.selections] == [("PACS", "a"), ("PACS", "b")]


def test_a_miss_names_the_conditions_no_image_satisfies_and_shows_the_values() -> None:
    facts = study(image("a", Modality="CT", Manufacturer="ACME "), image("b", Modality="CT"))
    explained = the_one(one_route("{modality: CT, manufacturer: {contains: SIEM}}"), facts)
    assert not explained.matched
    assert explained.reason == "none of 2 images satisfies: manufacturer contains 'SIEM'"
    modality, manufacturer = explained.fields
    assert (modality.held, modality.held_by, modality.values) == (True, 2, ("CT",))
    assert (manufacturer.held, manufacturer.held_by, manufacturer.values) == (False, 0, (None, "ACME"))
    assert [(c.condition, c.held, c.held_by) for c in manufacturer.conditions] == [("contains 'SIEM'", False, 0)]


def test_conditions_that_hold_only_in_different_images_are_told_apart() -> None:
    facts = study(image("a", Modality="SR"), image("b", Modality="CT", Manufacturer="ACME"))
    explained = the_one(one_route("{modality: SR, manufacturer: ACME}"), facts)
    assert explained.reason == ("each condition holds for some image, but no single image satisfies all of them")


def test_the_witness_is_the_image_that_comes_closest() -> None:
    facts = study(image("far"), image("near", Modality="CR", Manufacturer="ACME"), image("nearer_not", Modality="CR"))
    explained = the_one(one_route("{modality: CR, manufacturer: ACME, station_name: {starts_with: ROOM}}"), facts)
    assert explained.witness == "near"
    assert [field.actual for field in explained.fields] == ["CR", "ACME", None]
    assert [field.held for field in explained.fields] == [True, True, False]


def test_a_negative_condition_reads_as_it_is_written() -> None:
    explained = the_one(one_route("{modality: {not_in: [CR, CT]}}"), study(image("a", Modality="CR")))
    assert explained.reason == "none of 1 image satisfies: modality not_in ['CR', 'CT']"


def test_a_match_kept_back_by_the_loop_guard_says_so() -> None:
    explained = the_one(one_route(to="AI"), study(image("a", Modality="CR", sender="AI_AET")))
    assert explained.matched
    assert explained.selections == ()
    assert "came from the destination itself" in explained.reason


def test_disabled_routes_and_those_after_a_final_one_are_explained_as_not_looked_at() -> None:
    routes = table(
        """
        routes:
        - {name: idle, match: {modality: CR}, action: {to: PACS}, enabled: false}
        - {name: last, match: {modality: CR}, action: {to: PACS}, final: true}
        - {name: behind, match: {modality: CR}, action: {to: PACS}}
        """
    )
    idle, last, behind = routes.explain(study(image("a", Modality="CR")))
    assert (idle.evaluated, idle.matched, idle.reason) == (False, False, "the route is disabled")
    assert (last.evaluated, last.matched) == (True, True)
    assert (behind.evaluated, behind.matched, behind.selections) == (False, False, ())
    assert behind.reason == "the final route 'last' matched before it"
    assert behind.fields[0].held


def test_a_final_route_that_does_not_match_leaves_the_others_to_be_looked_at() -> None:
    routes = table(
        """
        routes:
        - {name: last, match: {modality: SR}, action: {to: PACS}, final: true}
        - {name: behind, match: {modality: CR}, action: {to: PACS}}
        """
    )
    assert [e.matched for e in routes.explain(study(image("a", Modality="CR")))] == [False, True]


def test_a_study_without_images_matches_nothing_and_says_why() -> None:
    explained = the_one(one_route(), study())
    assert (explained.matched, explained.witness, explained.reason) == (
        False,
        None,
        "the study has no images",
    )
    assert not explained.fields[0].held


def test_only_the_commonest_values_of_a_field_are_shown() -> None:
    facts = study(*(image(f"i{n}", InstanceNumber=str(n % 20)) for n in range(1000)))
    assert len(the_one(one_route("{InstanceNumber: x}"), facts).fields[0].values) == 8


@given(facts=studies)
def test_an_explanation_agrees_with_what_is_done_and_is_json(facts: StudyFacts) -> None:
    explained = EVERY_PORTION.explain(facts, AET_OF)
    assert tuple(e.route.name for e in explained if e.matched) == EVERY_PORTION.matched(facts)
    assert [s for e in explained for s in e.selections] == EVERY_PORTION.select(facts, AET_OF)
    for explanation in explained:
        assert explanation.matched == (explanation.matching > 0)
        json.dumps(explanation.as_dict())
