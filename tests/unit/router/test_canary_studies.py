"""For a route, a study that it takes, or why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsops.dicom.synthetic import CANARY
from pacsops.router.canary_studies import Untriable, canary_for
from pacsops.routes import RouteTable, load_routes
from pacsops.routes.loader import read_routes

INVENTORIES = sorted((Path(__file__).parents[3] / "inventories").glob("*/files/routes.yml"))


def table_of(*matches: str) -> RouteTable:
    """A route for each `match`, named r0, r1, …"""
    routes = "".join(f"  - {{name: r{n}, match: {match}, action: {{to: PACS}}}}\n" for n, match in enumerate(matches))
    return load_routes(f"routes:\n{routes}")


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.parts[-3])
def test_every_route_of_the_inventories_has_a_canary(path: Path) -> None:
    table = read_routes(path)

    for route in table.routes:
        canary = canary_for(route, table)
        assert route.name in table.matched(canary.facts)
        assert canary.dataset.AccessionNumber == CANARY


@pytest.mark.parametrize(
    "match",
    [
        "{study_description: {starts_with: MR, contains: KNEE, ends_with: LEFT}}",
        "{study_description: {matches: '^(CT|MR).*CHEST$'}}",
        "{modality: {in: [US, CT]}, station_name: {not_contains: TEST}}",
        "{modality: {not_in: [SR, PR]}}",
        "{body_part_examined: {equals: HIP}, rows: {not_equals: '0'}}",
        "{patient_id: {starts_with: 'RESEARCH-'}}",
    ],
)
def test_a_study_is_made_for_conditions(match: str) -> None:
    table = table_of(match)

    assert table.matched(canary_for(table.routes[0], table).facts) == ("r0",)


def test_a_route_that_asks_for_a_sender_gets_its_study_from_there() -> None:
    table = table_of("{source_aet: {equals: CT_ROOM1}}")

    assert canary_for(table.routes[0], table).sender_aet == "CT_ROOM1"


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ("{accession_number: {starts_with: ER}}", "by which canaries are known"),
        ("{study_description: {equals: A, not_equals: a}}", "no value of study_description"),
        (r"{study_description: {matches: '^[0-9]{7}-[a-f]+$'}}", "no value of study_description"),
    ],
)
def test_a_route_that_no_study_can_be_made_for_says_why(match: str, reason: str) -> None:
    table = table_of(match)

    with pytest.raises(Untriable, match=reason):
        canary_for(table.routes[0], table)


def test_a_route_behind_a_final_one_is_told_from_one_that_works() -> None:
    table = load_routes(
        "routes:\n"
        "  - {name: all_ct, priority: 1, final: true, match: {modality: CT}, action: {to: PACS}}\n"
        "  - {name: ct_to_ai, match: {modality: CT}, action: {to: AI}}\n"
    )

    with pytest.raises(Untriable, match="taken by all_ct before it"):
        canary_for(table.routes[1], table)
