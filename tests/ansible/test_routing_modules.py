"""routing_delivery and routing_info against a real PostgreSQL."""

from __future__ import annotations

import pytest
from tests.ansible.conftest import RunModule
from tests.support.deliveries import as_delivered, in_state, promise
from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study

from pacsops.database import Database
from pacsops.delivery import desk, verification
from pacsops.delivery.model import Status
from pacsops.delivery.versions import note_routes
from pacsops.routes import load_routes


def statuses(database: Database) -> dict[str, str]:
    return {each.destination: each.status for each in desk.deliveries(database)}


@pytest.fixture
def stuck(database: Database) -> int:
    delivery, _ = in_state(database, Status.STUCK, "MODLINK")
    return delivery


def test_a_retry_sends_the_stuck_delivery_again_once(
    database: Database, stuck: int, env_file: str, run_module: RunModule
) -> None:
    order = {"state": "retried", "destination": "MODLINK", "env_file": env_file}

    first, second = run_module("routing_delivery", order), run_module("routing_delivery", order)

    assert [each["id"] for each in first["deliveries"]] == [stuck]
    assert (first["changed"], second["changed"]) == (True, False)
    assert statuses(database) == {"MODLINK": "pending"}


def test_check_mode_names_what_would_be_retried_and_leaves_it(
    database: Database, stuck: int, env_file: str, run_module: RunModule
) -> None:
    result = run_module(
        "routing_delivery", {"state": "retried", "destination": "MODLINK", "env_file": env_file}, check=True
    )

    assert [each["id"] for each in result["deliveries"]] == [stuck]
    assert "stuck" in result["diff"]["before"]
    assert "pending" in result["diff"]["after"]
    assert statuses(database) == {"MODLINK": "stuck"}


def test_a_cancelled_delivery_keeps_the_reason_and_others_go_on(
    database: Database, stuck: int, env_file: str, run_module: RunModule
) -> None:
    promise(database, "PACS", study="other")

    run_module(
        "routing_delivery",
        {"state": "cancelled", "deliveries": [stuck], "reason": "sent by courier", "env_file": env_file},
    )

    assert statuses(database) == {"MODLINK": "cancelled", "PACS": "pending"}
    last = desk.timeline(database, "study")[-1]
    assert last.detail["reason"] == "sent by courier"
    assert last.detail["by"].endswith("(Ansible)")


@pytest.mark.usefixtures("stuck")
def test_an_empty_list_of_deliveries_is_about_none_not_about_all(
    database: Database, env_file: str, run_module: RunModule
) -> None:
    result = run_module("routing_delivery", {"state": "retried", "deliveries": [], "env_file": env_file})

    assert not result["changed"]
    assert statuses(database) == {"MODLINK": "stuck"}


@pytest.mark.parametrize(
    ("order", "lacking"),
    [({"state": "retried"}, "destination"), ({"state": "skipped", "destination": "MODLINK"}, "reason")],
)
def test_an_order_about_everything_or_without_a_reason_is_refused(
    order: dict[str, str], lacking: str, run_module: RunModule
) -> None:
    result = run_module("routing_delivery", order)

    assert result["failed"]
    assert lacking in result["msg"]


def test_an_unknown_study_fails_with_a_hint(env_file: str, run_module: RunModule) -> None:
    result = run_module("routing_delivery", {"state": "retried", "study": "1.2.3", "env_file": env_file})

    assert result["failed"]
    assert "1.2.3" in result["msg"]
    assert result["hint"]


@pytest.mark.usefixtures("stuck")
def test_info_counts_lists_and_finds_without_naming_patients(
    database: Database, env_file: str, run_module: RunModule
) -> None:
    promise(database, "PACS", study="other")
    note_routes(database, hash_="a" * 64, text="routes: []", accepted=True, problems=[])
    note_routes(database, hash_="b" * 64, text="x", accepted=False, problems=[{"message": "unknown key 'mach'"}])

    result = run_module("routing_info", {"env_file": env_file})

    assert (result["counts"]["stuck"], result["counts"]["pending"]) == (1, 1)
    assert [each["destination"] for each in result["stuck"]] == ["MODLINK"]
    assert [each["destination"] for each in result["pending"]] == ["PACS"]
    assert result["routes_in_force"]["hash"] == "a" * 64
    assert result["routes_rejected"] == ["unknown key 'mach'"]
    assert any("1 delivery is stuck" in finding for finding in result["findings"])
    assert "patient" not in str(result)


def test_info_fails_with_a_hint_when_postgresql_is_down(
    env_file: str, run_module: RunModule, postgres: object
) -> None:
    postgres.stop("immediate")  # type: ignore[attr-defined]

    result = run_module("routing_info", {"env_file": env_file})

    assert result["failed"]
    assert "PostgreSQL" in result["msg"]


def test_a_replay_tells_what_new_routes_change_and_nothing_of_patients(
    database: Database, orthanc: OrthancServer, env_file: str, run_module: RunModule
) -> None:
    in_force = "routes: [{name: sr, match: {modality: SR}, action: {to: MODLINK}}]"
    note_routes(database, hash_=load_routes(in_force).hash, text=in_force, accepted=True, problems=[])
    a_study(patient_name="DOE^JANE").with_series("SR").in_(orthanc)
    new = in_force.replace("MODLINK", "[MODLINK, ARCHIVE]")

    result = run_module("routes_replay", {"content": new, "env_file": env_file}, check=True)

    assert (result["changed"], result["studies"], result["gained"], result["lost"]) == (False, 1, 1, 0)
    assert "sr → ARCHIVE: 0 before, 1 after (+1 -0)" in result["lines"]
    assert "DOE" not in str(result)
    same = run_module("routes_replay", {"content": in_force, "env_file": env_file})
    assert same["lines"] == ["No delivery of the studies looked at is gained or lost."]


def test_a_replay_of_a_wrong_file_fails_with_every_problem(
    orthanc: OrthancServer, database: Database, env_file: str, run_module: RunModule
) -> None:
    result = run_module("routes_replay", {"content": "routes: [{nme: a}]", "env_file": env_file}, check=True)

    assert result["failed"]
    assert "nme" in result["msg"]


def test_what_is_late_and_what_could_not_be_verified_are_findings(
    database: Database, stuck: int, env_file: str, run_module: RunModule
) -> None:
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET deliver_within = 60, open_since = now() - interval '1 hour'")
    verification.set_verification(database, "PACS", verification.Method.FIND)
    number, _ = in_state(database, Status.SUCCESS, "PACS", study="other")
    verification.no_answer(database, as_delivered(database, number), "it does not offer C-FIND")

    findings = run_module("routing_info", {"env_file": env_file})["findings"]

    assert any("overdue by route all to MODLINK" in finding for finding in findings)
    assert "1 delivery is not verified at PACS: it does not offer C-FIND" in findings
