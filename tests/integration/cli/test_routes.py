"""Reading, checking and explaining the rules."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cli.conftest import ROUTES, CommandLine, Site
from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study

from pacsops.delivery.model import Status
from pacsops.orthanc import Modality, ensure


def test_the_routes_in_force_are_listed_even_when_the_file_has_moved_on(site: Site, cli: CommandLine) -> None:
    site.routes_in_force()
    site.settings.routes_file.write_text("routes: []")

    answer = cli.json("routes")
    assert [route["name"] for route in answer["routes"]] == ["bone_length_to_ai", "results_to_modlink"]
    assert answer["in_force_since"]
    assert answer["routes"][0]["match"] == {"study_description": ["contains 'Leg Length'"]}
    shown = cli("routes").stdout
    assert "study_description contains 'Leg Length'" in shown
    assert "highest resolution → MERCURE" in shown


def test_before_the_first_router_the_file_is_shown_and_said_not_to_be_in_force(site: Site, cli: CommandLine) -> None:
    site.settings.routes_file.write_text(ROUTES)

    assert "no router has taken them yet" in cli("routes").stdout
    assert cli.json("routes")["in_force_since"] is None


def test_every_problem_of_a_file_is_listed_at_once_with_its_line(
    site: Site, orthanc: OrthancServer, cli: CommandLine, tmp_path: Path
) -> None:
    ensure(orthanc.client, Modality(name="MERCURE", aet="MERCURE", host="127.0.0.1", port=104))
    file = tmp_path / "new-routes.yml"
    file.write_text(ROUTES.replace("modality: SR", "modalty: SR").replace("MODLINK", "MERCUER"))
    result = cli("routes", "--validate", "--file", str(file))

    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.split(":")[1] for line in lines] == ["8", "9"]
    assert "did you mean 'modality'?" in lines[0].lower()
    assert "did you mean 'MERCURE'?" in lines[1]
    answer = cli.json("routes", "--validate", "--file", str(file))
    assert (answer["valid"], [problem["line"] for problem in answer["problems"]]) == (False, [8, 9])


def test_a_valid_file_is_valid_also_where_orthanc_cannot_be_asked(site: Site, cli: CommandLine) -> None:
    site.settings.routes_file.write_text(ROUTES)
    result = cli("routes", "--validate")

    assert result.exit_code == 0
    assert "is valid: 2 routes" in result.stdout
    assert "Destinations were not checked" in result.stderr
    assert cli.json("routes", "--validate")["destinations_checked"] is False


def test_a_file_that_is_not_there_is_a_problem_not_a_crash(site: Site, cli: CommandLine, tmp_path: Path) -> None:
    assert cli("routes", "--validate", "--file", str(tmp_path / "absent.yml")).exit_code == 2
    assert cli("routes", "--file", "x").exit_code == 2


def test_explain_says_of_each_route_what_it_saw_and_what_it_wants(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force()
    study = a_study(description="Bilateral Leg Length", accession="ACC-1").with_series("CR", instances=2)
    study_id = study.in_(orthanc)
    shown = cli("routes", "explain", "ACC-1").stdout

    assert "bone_length_to_ai: matches" in shown
    assert "→ MERCURE: 1 image, as instance" in shown
    assert "results_to_modlink: does not match" in shown
    assert "modality is 'CR'; wants equals 'SR' (0 of 2 images)" in shown
    answer = cli.json("routes", "explain", study_id)
    assert (answer["study_id"], answer["study_uid"]) == (study_id, study.study_uid)
    assert [(route["route"], route["matched"]) for route in answer["routes"]] == [
        ("bone_length_to_ai", True),
        ("results_to_modlink", False),
    ]
    assert cli("routes", "explain", "nobody").exit_code == 2


def test_route_status_counts_what_came_of_each_route(site: Site, cli: CommandLine) -> None:
    site.routes_in_force()
    site.succeed(site.promise("one"))
    site.refused("two")
    assert site.promise("three", route="an old route", to="OLD").status is Status.PENDING

    rows = {row["route"]: row for row in cli.json("route-status")["routes"]}
    assert (rows["bone_length_to_ai"]["matched"], rows["bone_length_to_ai"]["success"]) == (2, 1)
    assert rows["bone_length_to_ai"]["stuck"] == 1
    assert rows["results_to_modlink"]["last_matched_at"] is None
    assert (rows["an old route"]["in_force"], rows["an old route"]["waiting"]) == (False, 1)
    shown = cli("route-status", "--since", "7d").stdout
    assert "never" in shown
    assert "an old route (no longer in routes.yml)" in shown


def test_a_study_that_only_orthanc_knows_yet_is_not_called_unknown(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    study = a_study().with_series("CT")
    study.in_(orthanc)
    result = cli("history", study.study_uid)

    assert result.exit_code == 2
    assert "the router has not taken it up yet" in result.stderr
    assert "orthanc reconcile" in result.stderr


def test_reconcile_finds_a_study_no_router_ever_heard_of(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    assert cli("reconcile").exit_code == 1  # nothing to go by yet
    site.routes_in_force()
    study_id = a_study(description="Leg Length").with_series("CR").in_(orthanc)
    orthanc.stable(study_id)

    answer = cli.json("reconcile")
    assert (answer["scanned"], answer["planned"], answer["studies"]) == (1, 1, [study_id])
    assert [delivery["study_id"] for delivery in cli.json("show-pending")["deliveries"]] == [study_id]
    assert cli.json("reconcile", "--since", "24h")["planned"] == 0
