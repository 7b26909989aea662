"""What a monitoring is told of a site in good and bad health."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.deliveries import as_delivered
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.pages import DOCS
from tests.support.postgres import PostgresServer
from tests.support.studies import a_study

from pacsops.backup import records
from pacsops.delivery import breaker, desk, verification
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.heartbeat import GATEWAY
from pacsops.observe import measured
from pacsops.words import now

PAGE = DOCS / "monitoring.md"


def read(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float | None:
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    assert len(found) < 2
    return found[0] if found else None


def late(site: Site, number: int, *, by: int) -> None:
    with site.database.transaction() as tx:
        tx.run(
            "UPDATE routing_state SET deliver_within = 60, open_since = now() - make_interval(secs => %(s)s)"
            " WHERE id = %(id)s",
            id=number,
            s=60 + by,
        )


@pytest.fixture
def eventful(healthy: Site, cli: CommandLine, tmp_path: Path) -> Site:
    """A site of which there is something to be told of everything: a gateway and backups, too."""
    with cli.env_file.open("a") as file:
        file.write(f"GATEWAY_PORT={free_port()}\nGATEWAY_SPOOL={tmp_path}\n")
    GATEWAY.beat(healthy.database, "host:2", {"destinations": {}})
    for kind in ("backup", "verify"):
        records.record(healthy.database, kind, now(), ok=True, detail={})  # type: ignore[arg-type]
    verification.set_verification(healthy.database, "MERCURE", verification.Method.FIND)
    done = healthy.succeed(healthy.promise("delivered"))
    verification.no_answer(healthy.database, as_delivered(healthy.database, done.id), "it does not offer C-FIND")
    healthy.refused("refused")
    late(healthy, healthy.promise("late", to="MODLINK", route="results_to_modlink").id, by=300)
    breaker.note_probe(healthy.database, "MERCURE", milliseconds=12)
    return healthy


def test_everything_is_told_and_nothing_but_what_is_documented(eventful: Site, cli: CommandLine) -> None:
    result = cli("metrics")

    assert (result.exit_code, result.stderr) == (0, "")
    samples = read(result.stdout)
    assert {sample.name for sample in samples} == {metric.name for metric in measured.ALL}
    paths = {re.sub(r"{\w+}", r"[^.]+", metric.graphite) for metric in measured.ALL}
    told = [line.split(" ")[0] for line in cli("metrics", "--format", "graphite").stdout.splitlines()]
    assert all(any(re.fullmatch(rf"orthanc\.{path}", one) for path in paths) for one in told)
    assert all(any(re.fullmatch(rf"orthanc\.{path}", one) for one in told) for path in paths)


def test_figures_are_those_of_the_site(eventful: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    a_study().with_series("CT", instances=2).in_(orthanc)
    samples = read(cli("metrics").stdout)

    for service in ("orthanc", "postgres", "router", "gateway"):
        assert value(samples, "orthanc_up", service=service) == 1
    assert value(samples, "orthanc_routing_received_total") == 3
    assert value(samples, "orthanc_routing_matched_total") == 3
    for what, often in {"sent": 2, "success": 1, "failed": 1, "stuck": 1, "skipped": 0}.items():
        assert value(samples, f"orthanc_routing_{what}_total", destination="MERCURE") == often, what
        assert value(samples, f"orthanc_routing_{what}_total", destination="MODLINK") == 0, what
    assert value(samples, "orthanc_routing_latency_seconds_count", destination="MERCURE") == 1
    assert value(samples, "orthanc_studies") == 1
    assert value(samples, "orthanc_studies_pending") == 1
    assert value(samples, "orthanc_studies_stuck") == 1
    assert value(samples, "orthanc_destination_up", destination="MERCURE") == 1
    assert value(samples, "orthanc_destination_echo_seconds", destination="MERCURE") == 0.012
    assert value(samples, "orthanc_destination_waiting_deliveries", destination="MODLINK") == 1
    assert value(samples, "orthanc_destination_stuck_deliveries", destination="MERCURE") == 1
    assert value(samples, "orthanc_destination_unverified_deliveries", destination="MERCURE") == 1
    assert (value(samples, "orthanc_oldest_pending_seconds") or 0) >= 360


def test_overdue_deliveries_are_told_with_their_route_and_how_late_they_are(eventful: Site, cli: CommandLine) -> None:
    where = {"route": "results_to_modlink", "destination": "MODLINK"}
    samples = read(cli("metrics").stdout)

    assert value(samples, "orthanc_deliveries_overdue") == 1
    assert value(samples, "orthanc_route_overdue_deliveries", **where) == 1
    assert (value(samples, "orthanc_deliveries_overdue_longest_seconds") or 0) >= 300
    assert (value(samples, "orthanc_route_overdue_longest_seconds", **where) or 0) >= 300

    (number,) = (delivery.id for delivery in desk.deliveries(eventful.database, overdue=True))
    desk.skip(eventful.database, DeliveryFilter(delivery_ids=(number,)), reason="sent by disc", by="operator")

    samples = read(cli("metrics").stdout)
    assert value(samples, "orthanc_deliveries_overdue") == 0
    assert value(samples, "orthanc_deliveries_overdue_longest_seconds") == 0
    assert value(samples, "orthanc_route_overdue_deliveries", **where) is None
    assert value(samples, "orthanc_routing_skipped_total", destination="MODLINK") == 1


def test_a_destination_is_down_while_its_breaker_is_open_or_no_echo_is_answered(
    healthy: Site, cli: CommandLine
) -> None:
    def up(name: str) -> float | None:
        return value(read(cli("metrics").stdout), "orthanc_destination_up", destination=name)

    assert up("MERCURE") is None, "nobody asked it yet"
    healthy.stuck()
    assert up("MERCURE") == 0
    breaker.note_probe(healthy.database, "MERCURE", milliseconds=3)
    assert up("MERCURE") == 1
    breaker.note_probe(healthy.database, "MODLINK", milliseconds=None, reason="connection refused")
    assert up("MODLINK") == 0
    healthy.succeed(healthy.promise("result", to="MODLINK"))
    assert up("MODLINK") == 1, "it took something since"


def test_a_destination_that_was_removed_alarms_nobody_and_keeps_its_counts(healthy: Site, cli: CommandLine) -> None:
    healthy.stuck(to="REMOVED")
    assert value(read(cli("metrics").stdout), "orthanc_destination_up", destination="REMOVED") == 0

    desk.cancel(healthy.database, DeliveryFilter(destination="REMOVED"), reason="it is gone", by="operator")

    samples = read(cli("metrics").stdout)
    assert value(samples, "orthanc_destination_up", destination="REMOVED") is None
    assert value(samples, "orthanc_routing_stuck_total", destination="REMOVED") == 1


def test_without_orthanc_the_rest_is_told_and_a_gauge_says_so(site: Site, cli: CommandLine) -> None:
    site.router_is_alive()
    site.stuck()
    result = cli("metrics")
    samples = read(result.stdout)

    assert result.exit_code == 1
    assert "cannot reach Orthanc" in result.stderr
    assert value(samples, "orthanc_up", service="orthanc") == 0
    assert value(samples, "orthanc_up", service="postgres") == 1
    assert value(samples, "orthanc_studies") is None
    assert value(samples, "orthanc_studies_stuck") == 1
    assert value(samples, "orthanc_destination_up", destination="MERCURE") == 0


def test_without_postgres_the_rest_is_told_and_a_gauge_says_so(
    healthy: Site, orthanc: OrthancServer, postgres: PostgresServer, cli: CommandLine
) -> None:
    a_study().with_series("CT").in_(orthanc)
    healthy.database.close()
    postgres.stop()
    result = cli("metrics")
    samples = read(result.stdout)

    assert result.exit_code == 1
    assert "cannot reach PostgreSQL" in result.stderr
    assert value(samples, "orthanc_up", service="postgres") == 0
    assert value(samples, "orthanc_up", service="orthanc") == 1
    assert value(samples, "orthanc_up", service="router") is None, "nobody knows"
    assert value(samples, "orthanc_studies") == 1
    assert (value(samples, "orthanc_storage_free_bytes") or 0) > 0


def test_where_neither_answers_that_is_what_is_told(site: Site, cli: CommandLine) -> None:
    with cli.env_file.open("a") as file:
        file.write(f"POSTGRES_PORT={free_port()}\n")
    result = cli("metrics")

    assert result.exit_code == 2
    assert {
        sample.labels["service"]: sample.value for sample in read(result.stdout) if sample.name == "orthanc_up"
    } == {
        "orthanc": 0,
        "postgres": 0,
    }
    answer = cli.json("metrics")
    assert answer["exit_code"] == 2
    assert [each["service"] for each in answer["missing"]] == ["orthanc", "postgres"]


def test_a_database_that_is_not_migrated_is_told_as_missing(
    healthy: Site, postgres: PostgresServer, cli: CommandLine
) -> None:
    with cli.env_file.open("a") as file:
        file.write(f"POSTGRES_DB={postgres.create_database().postgres_db}\n")
    result = cli("metrics")

    assert result.exit_code == 1
    assert "orthanc db-migrate" in result.stderr


def test_a_router_that_is_silent_is_down_and_its_age_is_told(healthy: Site, cli: CommandLine) -> None:
    with healthy.database.transaction() as tx:
        tx.run("UPDATE router_heartbeat SET beat_at = now() - interval '10 minutes'")
    samples = read(cli("metrics").stdout)

    assert value(samples, "orthanc_up", service="router") == 0
    assert (value(samples, "orthanc_last_sign_of_life_seconds", service="router") or 0) >= 600


def test_json_has_the_same_with_both_names(eventful: Site, cli: CommandLine) -> None:
    answer = cli.json("metrics")

    assert (answer["missing"], answer["exit_code"]) == ([], 0)
    assert {each["name"] for each in answer["metrics"]} == {metric.name for metric in measured.ALL}
    (sent,) = [
        each
        for each in answer["metrics"]
        if each["name"] == "orthanc_routing_sent_total" and each["labels"] == {"destination": "MERCURE"}
    ]
    assert (sent["kind"], sent["value"], sent["graphite"]) == ("counter", 2, "routing.MERCURE.sent")
    assert cli("metrics", "--json", "--format", "graphite").exit_code == 2


def test_the_line_for_cron_hands_over_whole_files_whatever_answers(
    healthy: Site, orthanc: OrthancServer, cli: CommandLine, tmp_path: Path
) -> None:
    (line,) = (line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("* * * * * root "))
    command = line.removeprefix("* * * * * root ")
    for there, here in (
        ("/var/lib/prometheus/node-exporter", str(tmp_path)),
        ("/run/", f"{tmp_path}/"),
        ("/opt/orthanc/bin/orthanc", f"{sys.executable} -m pacsops.cli.main"),
    ):
        assert there in command
        command = command.replace(there, here)

    def collected() -> float | None:
        subprocess.run(["sh", "-c", command], env={**os.environ, "ORTHANC_ENV": str(cli.env_file)}, check=True)
        assert not (tmp_path / "orthanc.new").exists()
        return value(read((tmp_path / "orthanc.prom").read_text()), "orthanc_up", service="orthanc")

    assert collected() == 1
    orthanc.stop()
    assert collected() == 0


def test_no_patient_and_no_password_is_in_it(eventful: Site, cli: CommandLine) -> None:
    eventful.promise("canary", patient="CANARY^NAME", accession="CANARY-ACC")
    secrets = ("CANARY", "DOE", "MRN-1", "2.25.", "Leg Length", eventful.settings.orthanc_password)

    for arguments in ((), ("--format", "graphite"), ("--json",)):
        output = cli("metrics", *arguments).output
        assert not [secret for secret in secrets if secret in output]
