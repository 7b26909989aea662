import hashlib

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.routes.builders import image, one_route, study, table

from pacsops.routes import Backoff, InstanceFacts, RetryPolicy, RouteTable, StudyFacts

TWO_SERIES = study(
    image("c", "ct", Modality="CT"),
    image("a", "ct", Modality="CT"),
    image("s", "sr", Modality="SR"),
)
AET_OF = {"PACS": "PACS_AET", "AI": "AI_AET", "BACKUP": "BACKUP_AET"}


def sent(routes: RouteTable, facts: StudyFacts) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(s.level, s.resource_id, s.instances) for s in routes.select(facts, AET_OF)]


def test_send_study_sends_all_of_it_once() -> None:
    assert sent(one_route("{modality: SR}"), TWO_SERIES) == [("study", "study", ("a", "c", "s"))]


def test_send_series_sends_each_series_that_has_a_matching_image_whole() -> None:
    facts = study(
        image("1", "scout", ImageType="ORIGINAL\\PRIMARY\\LOCALIZER"),
        image("2", "scout", ImageType="ORIGINAL\\PRIMARY"),
        image("3", "axial", ImageType="ORIGINAL\\PRIMARY"),
    )
    assert sent(one_route("{ImageType: LOCALIZER}", send="series"), facts) == [("series", "scout", ("1", "2"))]
    assert sent(one_route("{ImageType: PRIMARY}", send="series"), facts) == [
        ("series", "axial", ("3",)),
        ("series", "scout", ("1", "2")),
    ]


def test_send_instance_sends_each_matching_image_by_itself() -> None:
    assert sent(one_route("{modality: CT}", send="instance"), TWO_SERIES) == [
        ("instance", "a", ("a",)),
        ("instance", "c", ("c",)),
    ]


def test_every_destination_gets_its_own_delivery() -> None:
    selected = one_route("{modality: SR}", to="[PACS, BACKUP]").select(TWO_SERIES, AET_OF)
    assert [selection.destination for selection in selected] == ["PACS", "BACKUP"]


def highest(*images: InstanceFacts) -> list[str]:
    return [resource for _, resource, _ in sent(one_route(send="highest_resolution"), study(*images))]


def cr(instance: str, rows: str | None = None, columns: str | None = None, **tags: str) -> InstanceFacts:
    size = {"Rows": rows, "Columns": columns}
    return image(instance, Modality="CR", **tags, **{k: v for k, v in size.items() if v is not None})


def test_highest_resolution_is_most_pixels_not_most_rows() -> None:
    assert highest(cr("tall", "3000", "10"), cr("big", "900", "900"), cr("small", "10", "10")) == ["big"]


def test_an_image_without_a_readable_size_loses_against_any_other() -> None:
    assert highest(cr("a"), cr("b", "abc", "9"), cr("c", "1" * 5000, "9"), cr("d", "1", "1")) == ["d"]


def test_equal_resolutions_are_decided_by_instance_number_then_uid_then_identifier() -> None:
    same = ("8", "8")
    assert highest(cr("a", *same, InstanceNumber="10"), cr("b", *same, InstanceNumber=" 9 ")) == ["b"]
    assert highest(cr("a", *same), cr("b", *same, InstanceNumber="7")) == ["b"]
    assert highest(cr("a", *same, SOPInstanceUID="1.3"), cr("b", *same, SOPInstanceUID="1.2")) == ["b"]
    assert highest(cr("b", *same), cr("a", *same)) == ["a"]


def test_only_matching_images_compete_for_highest_resolution() -> None:
    huge_other = image("o", Modality="OT", Rows="9999", Columns="9999")
    assert highest(huge_other, cr("a", "2", "2")) == ["a"]


def test_all_fields_must_hold_for_one_single_image() -> None:
    both = one_route("{modality: SR, manufacturer: ACME}")
    assert not both.matched(study(image("1", Modality="SR"), image("2", Modality="CT", Manufacturer="ACME")))
    assert both.matched(study(image("1", Modality="SR", Manufacturer="ACME")))


def test_several_conditions_on_a_field_must_all_hold() -> None:
    routes = one_route("{series_description: {contains: QA, not_contains: Table}}", send="instance")
    facts = study(image("1", SeriesDescription="QA Picture"), image("2", SeriesDescription="QA Table"))
    assert sent(routes, facts) == [("instance", "1", ("1",))]


def test_a_value_alone_means_equals_and_a_list_means_in() -> None:
    assert one_route("{modality: ct}").matched(TWO_SERIES)
    assert not one_route("{modality: C}").matched(TWO_SERIES)
    assert one_route("{modality: [mr, ct]}").matched(TWO_SERIES)
    assert not one_route("{modality: [mr, us]}").matched(TWO_SERIES)


def test_a_number_is_compared_as_it_is_written() -> None:
    assert one_route("{patient_id: 007}").matched(study(image("1", PatientID="007")))
    assert not one_route("{patient_id: 007}").matched(study(image("1", PatientID="7")))
    assert one_route("{StudyDate: {in: [2024-01-31, 20240131]}}").matched(study(image("1", StudyDate="20240131")))


def test_an_image_does_not_return_to_the_system_it_came_from() -> None:
    facts = study(image("orig", Modality="CR"), image("back", Modality="CR", sender="AI_AET "))
    assert sent(one_route(to="AI"), facts) == [("study", "study", ("orig",))]
    assert sent(one_route(to="AI", send="instance"), facts) == [("instance", "orig", ("orig",))]
    assert sent(one_route(to="AI", send="series"), facts) == [("series", "series1", ("orig",))]
    assert sent(one_route(to="PACS"), facts) == [("study", "study", ("back", "orig"))]


def test_a_delivery_left_empty_by_the_loop_guard_is_none() -> None:
    back = study(image("back", Modality="CR", sender="AI_AET"))
    for send in ("study", "series", "instance", "highest_resolution"):
        routes = one_route(to="AI", send=send)
        assert sent(routes, back) == []
        assert routes.matched(back) == ("r",)


def test_highest_resolution_is_chosen_among_what_may_be_sent() -> None:
    facts = study(
        cr("small", "5", "5"),
        image("big", sender="AI_AET", Modality="CR", Rows="9", Columns="9"),
    )
    assert sent(one_route(to="AI", send="highest_resolution"), facts) == [("instance", "small", ("small",))]
    assert sent(one_route(to="PACS", send="highest_resolution"), facts) == [("instance", "big", ("big",))]


def test_send_back_lets_an_image_return() -> None:
    back = study(image("back", Modality="CR", sender="AI_AET"))
    assert sent(one_route(to="AI", send_back="true"), back) == [("study", "study", ("back",))]


def test_ae_titles_that_differ_in_case_are_different_systems() -> None:
    assert sent(one_route(to="AI"), study(image("i", Modality="CR", sender="ai_aet"))) != []


def test_an_image_of_unknown_origin_is_sent() -> None:
    assert sent(one_route(to="AI"), study(image("i", Modality="CR", sender=None))) != []


THREE = """
    routes:
    - {name: late, priority: 200, match: {modality: CT}, action: {to: PACS}}
    - {name: first_of_two, match: {modality: CT}, action: {to: PACS}%s}
    - {name: second_of_two, match: {modality: CT}, action: {to: PACS}}
    - {name: early, priority: -1, match: {modality: SR}, action: {to: PACS}}
    """


def test_routes_are_looked_at_by_priority_then_as_in_the_file() -> None:
    routes = table(THREE % "")
    assert routes.matched(TWO_SERIES) == ("early", "first_of_two", "second_of_two", "late")
    assert [selection.route.name for selection in routes.select(TWO_SERIES, AET_OF)] == [
        "early",
        "first_of_two",
        "second_of_two",
        "late",
    ]


def test_after_a_final_route_matched_no_later_one_is_looked_at() -> None:
    assert table(THREE % ", final: true").matched(TWO_SERIES) == ("early", "first_of_two")


def test_a_final_route_that_does_not_match_ends_nothing() -> None:
    only_sr = study(image("s", Modality="SR"))
    assert table(THREE.replace("-1", "300") % ", final: true").matched(only_sr) == ("early",)


def test_a_disabled_route_is_skipped_even_when_final() -> None:
    routes = table(THREE % ", final: true, enabled: false")
    assert routes.matched(TWO_SERIES) == ("early", "second_of_two", "late")


def test_any_change_of_the_file_changes_the_hash_and_nothing_else_does() -> None:
    assert table("routes: []").hash == hashlib.sha256(b"routes: []").hexdigest()
    assert table("routes: []").hash != table("routes: [] # since May").hash


INDEXED = {"Modality", "StudyDescription", "InstanceNumber", "SOPInstanceUID"}


def test_no_further_tags_are_needed_when_the_index_decides() -> None:
    assert one_route().instances_needing(TWO_SERIES, INDEXED) == frozenset()
    assert one_route("{source_aet: CR_ROOM1}").instances_needing(TWO_SERIES, INDEXED) == frozenset()


def test_images_that_may_still_match_need_the_tag_the_index_lacks() -> None:
    routes = one_route("{modality: CT, KVP: 120}")
    assert routes.instances_needing(TWO_SERIES, INDEXED) == {"a", "c"}
    assert routes.instances_needing(TWO_SERIES, INDEXED | {"KVP"}) == frozenset()


def test_images_that_compete_for_highest_resolution_need_their_sizes() -> None:
    routes = one_route("{modality: CT}", send="highest_resolution")
    assert routes.instances_needing(TWO_SERIES, INDEXED) == {"a", "c"}
    assert routes.instances_needing(TWO_SERIES, INDEXED | {"Rows", "Columns"}) == frozenset()
    alone = one_route("{modality: SR}", send="highest_resolution")
    assert alone.instances_needing(TWO_SERIES, INDEXED) == frozenset()


def test_routes_that_will_not_be_looked_at_need_nothing() -> None:
    routes = """
        routes:
        - {name: a, match: {%s}, action: {to: PACS}, final: true}
        - {name: b, match: {KVP: 120}, action: {to: PACS}, enabled: %s}
        """
    assert table(routes % ("modality: CT", "true")).instances_needing(TWO_SERIES, INDEXED) == frozenset()
    assert table(routes % ("modality: MR", "false")).instances_needing(TWO_SERIES, INDEXED) == frozenset()
    # The final route may not match after all, so the one behind it still may.
    undecided = table(routes % ("modality: SR, Laterality: L", "true"))
    assert undecided.instances_needing(TWO_SERIES, INDEXED) == {"a", "c", "s"}


def test_waits_grow_as_the_backoff_says() -> None:
    assert [RetryPolicy(5, Backoff.CONSTANT, 10).delay(n) for n in (1, 2, 3)] == [10, 10, 10]
    assert [RetryPolicy(5, Backoff.LINEAR, 10).delay(n) for n in (1, 2, 3)] == [10, 20, 30]
    assert [RetryPolicy(5, Backoff.EXPONENTIAL, 10).delay(n) for n in (1, 2, 3)] == [10, 20, 40]


def test_the_cap_bounds_growth_but_not_the_delay_one_asked_for() -> None:
    assert RetryPolicy(100, Backoff.EXPONENTIAL, 60).delay(100) == 3600
    assert RetryPolicy(3, Backoff.CONSTANT, 7200).delay(2) == 7200
    assert RetryPolicy(3, Backoff.LINEAR, 7200).delay(2) == 7200


SENDERS = st.sampled_from([None, "CR_ROOM1", "AI_AET", "PACS_AET"])
MODALITIES = st.sampled_from(["CR", "CT", "SR", "CR\\CT", ""])
MAKERS = st.sampled_from(["ACME", "acme imaging", "OTHER", ""])
images = st.builds(
    lambda n, series, sender, modality, maker, rows: image(
        f"i{n}", series, sender, Modality=modality, Manufacturer=maker, Rows=rows, Columns="2"
    ),
    st.integers(0, 99),
    st.sampled_from(["s1", "s2", "s3"]),
    SENDERS,
    MODALITIES,
    MAKERS,
    st.sampled_from(["1", "2", "x"]),
)
studies = st.lists(images, max_size=12, unique_by=lambda i: i.instance_id).map(lambda found: study(*found))
EVERY_PORTION = table(
    """
    routes:
    - {name: whole, match: {modality: CR}, action: {send: study, to: [AI, PACS]}}
    - {name: series, match: {modality: [CT, SR]}, action: {send: series, to: [AI, PACS]}, send_back: true}
    - {name: each, match: {manufacturer: {contains: acme}}, action: {send: instance, to: AI}}
    - {name: sharpest, match: {modality: {not_equals: SR}}, action: {send: highest_resolution, to: [PACS, AI]}}
    """
)


@given(facts=studies, shuffle=st.randoms(use_true_random=False))
def test_the_order_in_which_images_arrived_decides_nothing(facts: StudyFacts, shuffle: object) -> None:
    shuffled = list(facts.instances)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    assert EVERY_PORTION.select(study(*shuffled), AET_OF) == EVERY_PORTION.select(facts, AET_OF)


@given(facts=studies)
def test_what_is_selected_is_in_the_study_sorted_and_never_empty(facts: StudyFacts) -> None:
    series_of = {instance.instance_id: instance.series_id for instance in facts.instances}
    selected = EVERY_PORTION.select(facts, AET_OF)
    for selection in selected:
        assert selection.instances
        assert list(selection.instances) == sorted(set(selection.instances))
        assert set(selection.instances) <= set(series_of)
        if selection.level == "series":
            assert {series_of[i] for i in selection.instances} == {selection.resource_id}
        elif selection.level == "instance":
            assert selection.instances == (selection.resource_id,)
    keys = [(s.level, s.resource_id, s.route.name, s.destination) for s in selected]
    assert len(keys) == len(set(keys))


@given(facts=studies)
def test_nothing_returns_to_its_sender_unless_the_route_says_so(facts: StudyFacts) -> None:
    sender = {instance.instance_id: instance.sender_aet for instance in facts.instances}
    for selection in EVERY_PORTION.select(facts, AET_OF):
        if not selection.route.send_back:
            assert AET_OF[selection.destination] not in {sender[i] for i in selection.instances}


@given(facts=studies)
def test_two_fields_select_what_each_of_them_selects(facts: StudyFacts) -> None:
    def selected(match: str) -> set[str]:
        chosen = one_route(match, send="instance").select(facts, {})
        return {selection.resource_id for selection in chosen}

    together = selected("{modality: CR, manufacturer: {starts_with: ACME}}")
    assert together == selected("{modality: CR}") & selected("{manufacturer: {starts_with: ACME}}")


@given(facts=studies)
def test_the_index_alone_decides_where_no_further_tags_are_said_to_be_needed(facts: StudyFacts) -> None:
    indexed = {"Modality"}
    needing = EVERY_PORTION.instances_needing(facts, indexed)
    stripped = study(
        *(
            instance
            if instance.instance_id in needing
            else image(
                instance.instance_id,
                instance.series_id,
                instance.sender_aet,
                Modality=instance.tags["Modality"],
            )
            for instance in facts.instances
        )
    )
    assert EVERY_PORTION.select(stripped, AET_OF) == EVERY_PORTION.select(facts, AET_OF)
