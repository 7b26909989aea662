"""Seeing what is stuck or waits, and ordering what becomes of it."""

from __future__ import annotations

import pytest
from tests.integration.cli.conftest import CommandLine, Site

from pacsops.delivery import desk
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import ErrorClass, Event, Status

CONTRACT = {
    "study_id",
    "study_uid",
    "level",
    "resource_id",
    "route",
    "destination",
    "status",
    "attempt_count",
    "max_attempts",
    "next_retry_at",
    "last_error",
    "last_error_class",
    "job_id",
}


def test_stuck_deliveries_say_who_where_how_often_and_why(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck(patient="ÅSTRÖM^ÉLODIE")
    result = cli("show-stuck")

    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith(stuck.study_id))
    said = ["ÅSTRÖM^ÉLODIE", "Bilateral", "Leg", "Length", "MERCURE", "1x", "connection", "refused"]
    assert row.split()[1:] == said
    assert f"orthanc retry {stuck.study_id[:13]} " in result.stdout


def test_json_of_deliveries_keeps_its_contract(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck("one")
    waiting = site.fail(site.promise("two", to="MODLINK"), "timeout", ErrorClass.TIMEOUT)

    [shown] = cli.json("show-stuck")["deliveries"]
    assert shown.keys() >= CONTRACT
    assert (shown["study_id"], shown["status"], shown["last_error_class"]) == (stuck.study_id, "stuck", "refused")
    [shown] = cli.json("show-pending")["deliveries"]
    assert shown.keys() >= CONTRACT
    assert (shown["id"], shown["status"], shown["attempt_count"]) == (waiting.id, "failed", 1)
    assert shown["next_retry_at"].endswith("Z")
    assert shown["waits_for"].startswith("attempt 2 of 3 in ")


def test_lists_can_be_narrowed_to_a_destination_and_a_time(site: Site, cli: CommandLine) -> None:
    site.stuck("one", to="MERCURE")
    site.stuck("two", to="MODLINK")

    shown = cli.json("show-stuck", "--destination", "MODLINK")["deliveries"]
    assert [delivery["destination"] for delivery in shown] == ["MODLINK"]
    assert len(cli.json("show-stuck", "--since", "1h")["deliveries"]) == 2
    assert cli.json("show-stuck", "--since", "2999-01-01")["deliveries"] == []
    assert cli.json("show-pending", "--destination", "MODLINK")["deliveries"] == []


def test_nothing_stuck_is_said_in_words_and_is_no_failure(site: Site, cli: CommandLine) -> None:
    site.promise(to="MODLINK")
    result = cli("show-stuck", "--destination", "MODLINK")

    assert (result.exit_code, result.stdout) == (0, "✅ Nothing is stuck for MODLINK.\n")


@pytest.mark.parametrize("command", ["show-stuck", "show-pending"])
def test_a_name_nothing_was_ever_sent_to_is_told_with_the_one_it_resembles(
    site: Site, cli: CommandLine, command: str
) -> None:
    site.stuck(to="MODLINK")

    assert "did you mean MODLINK?" in cli(command, "--destination", "modlink").stderr
    assert "did you mean MODLINK?" in cli("retry", "--all", "--yes", "--destination", "modlink").stderr


def test_a_router_without_orthanc_is_told_beside_what_waits(site: Site, cli: CommandLine) -> None:
    site.promise()
    site.router_is_alive(trouble={"feed": "cannot reach Orthanc", "dispatch": "cannot reach Orthanc"})

    assert cli("show-pending").stderr.count("The router is held up: cannot reach Orthanc.") == 1


def test_pending_deliveries_behind_a_down_destination_say_since_when(site: Site, cli: CommandLine) -> None:
    for number in range(5):
        site.fail(site.promise(f"study {number}"))
    waiting = site.promise("another")

    shown = {delivery["id"]: delivery["waits_for"] for delivery in cli.json("show-pending")["deliveries"]}
    assert shown[waiting.id].startswith("MERCURE is down since ")
    assert "connection refused" in shown[waiting.id]


def test_without_a_router_pending_says_on_stderr_that_nothing_moves(site: Site, cli: CommandLine) -> None:
    site.promise()

    assert "No router has run yet" in cli("show-pending").stderr
    site.router_is_alive()
    assert cli("show-pending").stderr == ""


@pytest.mark.parametrize("name", ["identifier", "prefix", "uid", "accession", "number"])
def test_a_study_is_retried_by_any_of_its_names(site: Site, cli: CommandLine, name: str) -> None:
    stuck = site.stuck(accession="ACC-1")
    names = {
        "identifier": stuck.study_id,
        "prefix": stuck.study_id[:9],
        "uid": stuck.study_uid or "",
        "accession": "ACC-1",
        "number": str(stuck.id),
    }
    result = cli("retry", names[name])

    assert result.exit_code == 0
    retried = site.delivery(stuck.id)
    assert (retried.status, retried.attempt_count) == (Status.PENDING, 0)
    assert "1 study:" in result.stdout
    assert "STUCK → PENDING" in result.stdout
    assert f"orthanc history {stuck.study_id[:13]}\n" in result.stdout


def test_an_accession_number_that_is_also_a_deliverys_number_is_never_guessed(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck("one")
    other = site.stuck("two", accession=str(stuck.id), to="MODLINK")
    result = cli("retry", str(stuck.id))

    assert result.exit_code == 2
    assert stuck.study_id in result.stderr.replace("\n", "")
    assert other.study_id in result.stderr.replace("\n", "")
    assert site.delivery(stuck.id).status is site.delivery(other.id).status is Status.STUCK


def test_a_dry_run_changes_nothing(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck()

    answer = cli.json("retry", stuck.study_id, "--dry-run")
    assert (answer["dry_run"], answer["count"]) == (True, 1)
    assert cli("skip", stuck.study_id, "--reason", "x", "--dry-run").exit_code == 0
    assert site.delivery(stuck.id) == stuck


def test_an_order_tells_what_it_changed(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck()

    [changed] = cli.json("retry", stuck.study_id)["deliveries"]
    assert (changed["id"], changed["status_before"], changed["status"]) == (stuck.id, "stuck", "pending")
    assert changed.keys() >= CONTRACT


def test_retrying_everything_needs_a_yes_where_nobody_can_be_asked(site: Site, cli: CommandLine) -> None:
    one, two = site.stuck("one"), site.stuck("two", to="MODLINK")
    refused = cli("retry", "--all")

    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert site.delivery(one.id).status is Status.STUCK
    assert cli("retry", "--all", "--yes").exit_code == 0
    assert {site.delivery(one.id).status, site.delivery(two.id).status} == {Status.PENDING}


def test_retrying_everything_asks_on_a_terminal_and_takes_no_for_an_answer(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck()
    status, shown = cli.on_terminal("retry", "--all", answers="n\n")

    assert status == 1
    assert "Retry 1 delivery?" in shown
    assert "Nothing was changed." in shown
    assert site.delivery(stuck.id).status is Status.STUCK

    status, shown = cli.on_terminal("retry", "--all", answers="y\n")
    assert status == 0
    assert site.delivery(stuck.id).status is Status.PENDING


def test_a_retry_of_one_destination_leaves_the_others_alone(site: Site, cli: CommandLine) -> None:
    one = site.stuck("one", to="MERCURE")
    two = site.stuck("one", to="MODLINK", route="results_to_modlink")

    assert cli("retry", one.study_id, "--destination", "MODLINK").exit_code == 0
    assert (site.delivery(one.id).status, site.delivery(two.id).status) == (Status.STUCK, Status.PENDING)


def test_sending_again_what_was_delivered_takes_force_and_warns(site: Site, cli: CommandLine) -> None:
    sent = site.succeed(site.promise())
    refused = cli("retry", sent.study_id)

    assert refused.exit_code == 1
    assert refused.stderr.startswith("Nothing to do")
    forced = cli("retry", sent.study_id, "--force")
    assert forced.exit_code == 0
    assert "all images are sent again" in forced.stderr
    assert site.delivery(sent.id).status is Status.PENDING


def test_force_over_everything_must_name_a_destination(site: Site, cli: CommandLine) -> None:
    sent = site.succeed(site.promise())

    assert cli("retry", "--all", "--force", "--yes").exit_code == 2
    assert site.delivery(sent.id).status is Status.SUCCESS


@pytest.mark.parametrize(
    ("order", "becomes", "event"),
    [("skip", Status.SKIPPED, Event.DELIVERY_SKIPPED), ("cancel", Status.CANCELLED, Event.DELIVERY_CANCELLED)],
)
def test_taking_back_needs_a_reason_and_is_signed(
    site: Site, cli: CommandLine, order: str, becomes: Status, event: Event
) -> None:
    waiting = site.promise()

    assert cli(order, waiting.study_id).exit_code == 2
    assert cli(order, waiting.study_id, "--reason", "sent by hand").exit_code == 0
    assert site.delivery(waiting.id).status is becomes
    last = desk.timeline(site.database, waiting.study_id)[-1]
    assert (last.event, last.detail["reason"]) == (event, "sent by hand")
    assert last.detail["by"]
    assert cli("retry", waiting.study_id, "--force").exit_code == 0
    assert site.delivery(waiting.id).status is Status.PENDING


def test_an_order_with_nothing_to_apply_to_exits_with_1(site: Site, cli: CommandLine) -> None:
    waiting = site.promise()
    desk.cancel(site.database, DeliveryFilter(), reason="test", by="test")

    assert cli("cancel", waiting.study_id, "--reason", "again").exit_code == 1
    assert cli.json("retry", waiting.study_id)["count"] == 0


def test_an_unknown_study_is_an_error_with_a_hint(site: Site, cli: CommandLine) -> None:
    for arguments in (("retry", "nobody"), ("history", "nobody"), ("skip", "99999", "--reason", "x")):
        result = cli(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "hint: " in result.stderr


def test_a_retry_to_a_destination_that_is_down_says_it_will_wait(site: Site, cli: CommandLine) -> None:
    for number in range(4):
        site.fail(site.promise(f"study {number}"))
    stuck = site.stuck("the fifth")

    assert "MERCURE is down since" in cli("retry", stuck.study_id).stderr
