"""What failed, by cause, and what mends it."""

from __future__ import annotations

import re

from tests.integration.cli.conftest import CommandLine, Site

from pacsops.delivery import outcomes
from pacsops.delivery.claims import claim
from pacsops.delivery.model import Delivery, ErrorClass, Status
from pacsops.delivery.retry import Failure

SR = "1.2.840.10008.5.1.4.1.1.88.11"


def refused_sr(site: Site, name: str) -> Delivery:
    delivery = site.promise(name, to="MODLINK")
    (taken,) = claim(site.database, "host:1")
    why = Failure(ErrorClass.NO_PRESENTATION_CONTEXT, "no presentation context accepted", None, SR, None)
    outcomes.fail(site.database, taken, why)
    return site.delivery(delivery.id)


def test_a_group_says_what_is_wrong_what_mends_it_and_what_to_type_then(site: Site, cli: CommandLine) -> None:
    refused_sr(site, "one")
    refused_sr(site, "two")
    result = cli("failures")

    assert result.exit_code == 0
    for words in (
        "MODLINK: no presentation context accepted",
        "2 studies, 2 stuck",
        "Basic Text SR Storage",
        "does not take this kind of object",
        "Ask its administrator to accept the SOP class",
    ):
        assert words in result.stdout
    (group,) = cli.json("failures")["groups"]
    assert group["retry"] == f"orthanc retry --group {group['id']}"
    assert group["retry"] in result.stdout


def test_json_of_failures_keeps_its_contract(site: Site, cli: CommandLine) -> None:
    refused_sr(site, "one")
    site.fail(site.promise("two"), "timeout", ErrorClass.TIMEOUT)

    groups = cli.json("failures")["groups"]

    assert [(group["destination"], group["stuck"], group["waiting"]) for group in groups] == [
        ("MODLINK", 1, 0),
        ("MERCURE", 0, 1),
    ]
    assert groups[0].keys() >= {
        *("id", "destination", "error_class", "dimse_status", "sop_class", "transfer_syntax", "deliveries"),
        *("studies", "stuck", "waiting", "oldest_at", "newest_at", "last_error", "cause", "fix", "retry"),
    }
    assert (groups[0]["sop_class"], groups[0]["sop_class_name"]) == (SR, "Basic Text SR Storage")
    assert "DOE" not in str(groups)


def test_the_printed_command_retries_the_whole_group_and_nothing_else(site: Site, cli: CommandLine) -> None:
    alike = [refused_sr(site, "one"), refused_sr(site, "two")]
    other = site.refused("three")
    groups = {group["destination"]: group for group in cli.json("failures")["groups"]}
    command = groups["MODLINK"]["retry"].split()[1:]

    asked = cli(*command)
    assert (asked.exit_code, "--yes" in asked.stderr) == (2, True)
    assert cli(*command, "--dry-run").exit_code == 0
    assert {site.delivery(delivery.id).status for delivery in alike} == {Status.STUCK}

    assert cli(*command, "--yes").exit_code == 0

    assert {site.delivery(delivery.id).status for delivery in alike} == {Status.PENDING}
    assert site.delivery(other.id).status is Status.STUCK
    again = cli(*command, "--yes")
    assert (again.exit_code, "orthanc failures" in again.stderr) == (1, True)


def test_what_waits_in_a_group_goes_at_once_and_what_arrived_is_left_alone(site: Site, cli: CommandLine) -> None:
    waits = site.fail(site.promise("one"), "timeout", ErrorClass.TIMEOUT)
    (group,) = cli.json("failures")["groups"]

    assert cli("retry", "--group", group["id"], "--force", "--yes").exit_code == 2
    assert cli("retry", "--group", group["id"], "--yes").exit_code == 0

    assert site.delivery(waits.id).status is Status.PENDING
    assert site.delivery(waits.id).attempt_count == 0
    site.succeed(waits)
    assert cli("retry", "--group", group["id"], "--yes").exit_code == 1


def test_deliveries_to_a_destination_nobody_configured_are_a_group(site: Site, cli: CommandLine) -> None:
    site.promise("one")
    (taken,) = claim(site.database, "host:1")
    outcomes.not_configured(site.database, taken, Failure(ErrorClass.UNKNOWN_DESTINATION, "Orthanc has no MERCURE"))

    (group,) = cli.json("failures")["groups"]

    assert (group["error_class"], group["waiting"]) == ("unknown-destination", 1)
    assert "orthanc add-destination --name MERCURE" in group["fix"]


def test_nothing_failed_is_said_so(site: Site, cli: CommandLine) -> None:
    site.succeed(site.promise())

    assert "Nothing has failed." in cli("failures").stdout
    assert cli.json("failures")["groups"] == []


def test_failures_fit_a_narrow_terminal(site: Site, cli: CommandLine) -> None:
    refused_sr(site, "one")
    status, shown = cli.on_terminal("failures", columns=80)

    assert status == 0
    assert all(len(line) <= 80 for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())


def test_a_retry_takes_one_way_to_say_what(site: Site, cli: CommandLine) -> None:
    assert cli("retry", "--all", "--group", "abc").exit_code == 2
    assert cli("retry", "--group", "12345678", "--yes").exit_code == 1


def late(site: Site, delivery: Delivery) -> None:
    with site.database.transaction() as tx:
        tx.run(
            "UPDATE routing_state SET deliver_within = 1200, open_since = now() - interval '1 hour'"
            " WHERE id = %(id)s",
            id=delivery.id,
        )


def test_overdue_deliveries_are_listed_the_latest_first_with_what_each_waits_for(
    site: Site, cli: CommandLine
) -> None:
    stuck, waits, early = site.refused("two", to="MODLINK"), site.promise("one"), site.promise("three")
    late(site, stuck)
    late(site, waits)

    result = cli("show-pending", "--overdue")

    rows = [line.split()[0] for line in result.stdout.splitlines() if "DOE^JOHN" in line]
    assert rows == [stuck.study_id, waits.study_id]
    assert early.study_id not in result.stdout
    assert "2 studies overdue" in result.stdout
    assert "40m" in result.stdout
    shown = cli.json("show-pending", "--overdue")["deliveries"]
    assert {delivery["id"]: delivery["waits_for"].split(":")[0] for delivery in shown} == {
        stuck.id: "stuck after 1 attempt",
        waits.id: "due now",
    }
    assert "Nothing is overdue for NOWHERE." in cli("show-pending", "--overdue", "--destination", "NOWHERE").stdout


def test_status_warns_of_what_is_overdue(site: Site, cli: CommandLine) -> None:
    late(site, site.promise())
    answer = cli.json("status")

    assert [(level["route"], level["deliveries"]) for level in answer["overdue"]] == [("bone_length_to_ai", 1)]
    assert any("overdue" in issue["message"] and "within 20m" in issue["message"] for issue in answer["issues"])
    assert "orthanc show-pending --overdue" in cli("status").stdout
