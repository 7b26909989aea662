"""The gateway as doctor, status and the commands about destinations tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.integration.doctor.conftest import examined, set_in
from tests.support.deliveries import selection
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer

from pacsops.delivery import breaker
from pacsops.delivery.heartbeat import GATEWAY
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.gateway.last_good import keep
from pacsops.words import moment

CONFIGURATION = "peers: [{aet: CT1}]"
CHECKS = ("gateway", "gateway-spool", "gateway-destinations")


def says(site: Site, *peers: Peer, **detail: Any) -> None:
    """A gateway's sign of life; its destinations are the peers, by their AE titles."""
    destinations = {
        peer.aet: {"host": "127.0.0.1", "port": peer.port, "aet": peer.aet, "tls": False} for peer in peers
    }
    GATEWAY.beat(site.database, "edge:1:a", {"aet": "EDGE", "destinations": destinations, **detail})


@pytest.fixture
def receiver(cli: CommandLine, tmp_path: Path, site: Site) -> Iterator[Peer]:
    """What listens on the gateway's port of this host."""
    (tmp_path / "gateway.yml").write_text(CONFIGURATION)
    with Peer("EDGE") as peer:
        set_in(
            cli,
            GATEWAY_PORT=peer.port,
            GATEWAY_AET="EDGE",
            GATEWAY_FILE=tmp_path / "gateway.yml",
            GATEWAY_SPOOL=tmp_path,
            GATEWAY_RESERVE_MIB=1,
        )
        yield peer


def test_a_host_without_a_gateway_hears_nothing_of_one(site: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    assert examined(cli, *CHECKS) == []
    assert "gateway" not in cli.json("status")["services"]


def test_a_gateway_that_is_well(site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer) -> None:
    with Peer("AI1") as worker:
        says(site, worker)
        found = examined(cli, *CHECKS)

        assert found.ill == set()
        assert found.of("gateway", "forwarder")["message"].startswith("the gateway's forwarder runs")
        assert "C-ECHO response" in found.of("gateway-destinations", "AI1")["message"]
        shown = cli.json("status")
    assert shown["services"]["gateway"]["state"] == "running"
    assert shown["storage"]["spool_free_bytes"] > 0


def test_a_gateway_that_rejects_us_receives_all_the_same(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    receiver.stop()
    receiver.rejects = True
    receiver.start()
    says(site)

    assert "the gateway receives on" in examined(cli, "gateway")[0]["message"]


def test_a_gateway_that_is_down_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    receiver.stop()
    says(site)
    GATEWAY.withdraw(site.database, "edge:1:a")

    found = examined(cli, "gateway")

    assert "The gateway does not receive on" in found.of("gateway", "receiver")["message"]
    assert "gave its last sign of life" in found.of("gateway", "forwarder")["message"]
    assert cli.json("status")["services"]["gateway"]["state"] == "silent"


def test_a_forwarder_that_never_ran_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    assert "has not run yet" in examined(cli, "gateway").of("gateway", "forwarder")["message"]
    assert cli.json("status")["services"]["gateway"]["state"] == "never ran"


def test_what_keeps_the_gateway_from_a_duty_is_told(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    says(site, trouble={"ingest": "the disk gave an error"})

    (found,) = [one for one in examined(cli, "gateway") if one["severity"] == "warning"]

    assert found["message"] == "The gateway cannot do its duty 'ingest': the disk gave an error."


def test_a_broken_gateway_yml_is_an_error_with_the_next_step_whatever_stays_in_force(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer, tmp_path: Path
) -> None:
    says(site)
    (tmp_path / "gateway.yml").write_text("peers: 7\nnonsense: 1")

    found = examined(cli, "gateway").of("gateway", "gateway.yml")

    assert (found["severity"], found["message"]) == (
        "error",
        f"The gateway does not take its file: {tmp_path}/gateway.yml has 2 problems:"
        " the file: unknown key 'nonsense'; there are destinations, peers, pools, private_sop_classes, results;"
        " peers: a list is wanted."
        " There was no good one before: nobody may send.",
    )
    kept_at = keep(tmp_path, CONFIGURATION)
    found = examined(cli, "gateway").of("gateway", "gateway.yml")
    assert found["message"].endswith(f". The one of {moment(kept_at)} stays in force, after a restart too.")
    assert "ansible-playbook -i inventories/<site> site.yml" in found["recommendation"]
    (issue,) = [one for one in cli.json("status")["issues"] if "does not take its file" in one["message"]]
    assert issue["severity"] == "error"

    (tmp_path / "gateway.yml").write_text(CONFIGURATION)
    assert examined(cli, "gateway").ill == set()


def test_a_broken_gateway_yml_is_told_without_postgresql(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer, tmp_path: Path
) -> None:
    set_in(cli, POSTGRES_PORT=free_port())
    keep(tmp_path, CONFIGURATION)
    (tmp_path / "gateway.yml").unlink()

    found = examined(cli, "gateway").of("gateway", "gateway.yml")

    assert "gateway.yml: No such file or directory. The one of" in found["message"]


def test_a_spool_below_its_reserve_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    set_in(cli, GATEWAY_RESERVE_MIB=1 << 40)

    assert "it refuses all images (0xA700)" in examined(cli, "gateway-spool").of("gateway-spool")["message"]


def test_a_spool_that_is_not_there_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer, tmp_path: Path
) -> None:
    set_in(cli, GATEWAY_SPOOL=tmp_path / "none")

    assert "No such file or directory" in examined(cli, "gateway-spool").of("gateway-spool")["message"]


def test_a_destination_of_the_gateway_that_does_not_answer_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    away = Peer("AWAY")
    away.port = free_port()
    says(site, away)

    found = examined(cli, "gateway-destinations").of("gateway-destinations", "AWAY")

    assert (found["severity"], found["evidence"]["error_class"]) == ("error", "refused")


def test_destinations_of_the_gateway_are_listed_and_tested(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    with Peer("AI1") as worker:
        says(site, worker)

        (listed,) = [one for one in cli.json("destinations")["destinations"] if one["name"] == "AI1"]
        tested = cli("test-destination", "AI1")

        assert (listed["registered"], listed["senders"], listed["aet"]) == (True, ["gateway"], "AI1")
        assert "from the gateway" in cli("destinations").stdout
        assert tested.exit_code == 0, tested.output
        assert worker.echoes == 1
    removed = cli("remove-destination", "AI1", "--yes")
    assert removed.exit_code == 2
    assert "AI1 is a destination of the gateway, not of Orthanc" in removed.output


def test_another_host_says_where_the_gateways_destination_is_tested(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    with Peer("AI1") as worker:
        says(site, worker)
        result = cli("test-destination", "AI1")
    assert result.exit_code == 2
    assert "on the gateway's host: `orthanc test-destination AI1`" in result.output


def test_what_waits_for_a_gateway_that_does_not_run_is_told(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    values: dict[str, Any] = dict.fromkeys(
        ("study_uid", "accession_number", "patient_name", "patient_id", "study_description", "study_date")
    )
    with site.database.transaction() as tx:
        study = StudyIdentity(source="gateway", study_id="1.2.3", **values)
        plan(tx, study, [selection("AI1", resource="1.2.3", instances=["1"])], "v1")

    result = cli("show-pending", "--destination", "AI1")

    assert "The gateway's forwarder has not run yet" in result.output


def test_an_outage_of_a_destination_only_the_gateway_has_is_not_held_against_orthanc(
    site: Site, orthanc: OrthancServer, cli: CommandLine, receiver: Peer
) -> None:
    with Peer("AI1") as worker:
        says(site, worker)
        breaker.note_probe(site.database, "AI1", milliseconds=3)

        found = examined(cli, "destination-deliveries")
    assert not [one for one in found if one["subject"] == "AI1"]


def routes(*lines: str) -> str:
    return "routes:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


def of_gateway(name: str, to: str, more: str = "") -> str:
    return f"name: {name}, source: gateway, match: {{modality: CT}}, action: {{to: {to}}}{more}"


def test_a_route_of_the_gateway_to_what_the_gateway_does_not_know_is_an_error(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    names = {"destinations": {"PACS": {"host": "127.0.0.1", "port": 104, "aet": "PACS", "tls": False}}}
    site.routes_in_force(routes(of_gateway("a", "PACS"), of_gateway("b", "AI"), of_gateway("c", "ARCHIV")))
    GATEWAY.beat(site.database, "edge:1:a", {"aet": "EDGE", "pools": {"AI": []}, **names})

    found = examined(cli, "routes-destinations").of("routes-destinations")

    assert found["severity"] == "error"
    assert found["message"].startswith("routes.yml: unknown destination 'ARCHIV' to the gateway")
    assert "gateway_destinations or gateway_pools in the inventory" in found["recommendation"]
    assert found["evidence"] == {"named_by": ["c"], "known": ["AI", "PACS"]}
    GATEWAY.beat(site.database, "edge:1:a", {"aet": "EDGE", "pools": {"AI": [], "ARCHIV": []}, **names})
    assert examined(cli, "routes-destinations").ill == set()


def test_a_gateway_without_destinations_knows_none(site: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    site.routes_in_force(routes(of_gateway("a", "PACS")))
    says(site)

    assert examined(cli, "routes-destinations").ill == {("routes-destinations", "error")}


def test_orthanc_is_not_asked_for_what_the_gateway_knows(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force(routes(of_gateway("a", "PACS"), "name: b, match: {modality: CT}, action: {to: PACS}"))
    says(site)

    found = examined(cli, "routes-destinations")

    assert sorted((one["severity"], one["message"].partition(";")[0]) for one in found) == [
        ("error", "routes.yml: unknown destination 'PACS' to the gateway"),
        ("warning", "routes.yml: unknown destination 'PACS'"),
    ]


def test_routes_of_a_gateway_that_never_ran_cannot_be_judged(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force(routes(of_gateway("a", "PACS")))

    assert "no gateway has run yet" in examined(cli, "routes-destinations").of("routes-destinations")["message"]


def test_routes_of_the_gateway_that_match_nothing_or_hide_are_told(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force(routes(of_gateway("a", "PACS", ", final: true"), of_gateway("b", "AI")))
    with site.database.transaction() as tx:
        tx.run("UPDATE routes_version SET loaded_at = now() - interval '31 days'")
        tx.run(
            "INSERT INTO routing_study (source, study_id, evaluated_at, matched_routes)"
            " VALUES ('gateway', '1.2.3', now(), '{a}')"
        )

    found = examined(cli, "routes-shadowed", "routes-unused")

    assert found.of("routes-shadowed", "b")["evidence"]["by"] == "a"
    assert [one["subject"] for one in found if one["id"] == "routes-unused"] == ["b"]


def test_a_pool_is_no_destination_and_its_members_are_those_its_routes_use(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force(routes(of_gateway("a", "AI")))
    with Peer("AI1") as worker:
        says(site, worker, pools={"AI": ["AI1"]})
        listed = {one["name"]: one for one in cli.json("destinations")["destinations"]}
        shown = {one["name"]: one for one in cli.json("status")["destinations"]}

    assert "AI" not in listed
    assert "AI" not in shown
    assert listed["AI1"]["routes"] == shown["AI1"]["routes"] == ["a"]
