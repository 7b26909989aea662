"""`orthanc logs`, `start`, `stop`, `restart` as an operator meets them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer
from tests.support.services import SupervisedHost


@pytest.fixture
def supervised(tmp_path: Path, cli: CommandLine) -> Iterator[SupervisedHost]:
    """The host the command line is on. Nothing runs yet."""
    (tmp_path / "host").mkdir()
    host = SupervisedHost(tmp_path / "host")
    kept = [line for line in cli.env_file.read_text().splitlines() if not line.startswith("SERVICES_FILE")]
    cli.env_file.write_text("\n".join([*kept, f"SERVICES_FILE={host.file}", ""]))
    yield host
    subprocess.run([*host.control, "shutdown"], capture_output=True, check=False, timeout=60)


def entries(shown: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.splitlines()]


STORY = """\
2026-02-03T10:30:15.000Z INFO  [routing] study_received study_id={study}
2026-02-03T10:30:16.000Z INFO  [routing] route_matched study_id={study} route=bone_length_to_ai instances=2
2026-02-03T10:30:17.000Z INFO  [routing] send_started study_id={study} destination=MERCURE attempt=1\
 job_id=job-1 instances=2
2026-02-03T10:30:47.000Z ERROR [routing] send_failed study_id={study} destination=MERCURE attempt=1\
 max_attempts=3 error="Connection refused"
2026-02-03T10:30:47.100Z WARN  [routing] send_retry_scheduled study_id={study} destination=MERCURE wait_seconds=60.0
2026-02-03T10:31:47.000Z INFO  [routing] send_started study_id={study} destination=MERCURE attempt=2\
 job_id=job-2 instances=2
2026-02-03T10:32:17.000Z INFO  [routing] send_success study_id={study} destination=MERCURE duration_ms=30000
"""


def test_the_story_of_a_study_reads_as_one(
    site: Site, supervised: SupervisedHost, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = site.promise(patient="MÜLLER^JÖRG")
    supervised.log("router").write_text(STORY.format(study=delivery.study_id))
    shown = cli.piped("logs", "--no-follow", TZ="UTC").stdout

    assert shown.splitlines()[-7:] == [
        f"10:30:15  📥 RECEIVED    MÜLLER^JÖRG - Bilateral Leg Length (2 images)  [{delivery.study_id}]",
        f'10:30:16  🔍 MATCHED     Route: "bone_length_to_ai" (2 images)  [{delivery.study_id}]',
        f"10:30:17  📤 SENDING     → MERCURE (2 images, job job-1)  [{delivery.study_id}]",
        f"10:30:47  ❌ FAILED      MERCURE: Connection refused (attempt 1 of 3)  [{delivery.study_id}]",
        f"10:30:47  ⏳ WAITING     MERCURE: retry in 60.0s  [{delivery.study_id}]",
        f"10:31:47  📤 RETRY 1     → MERCURE (2 images, job job-2)  [{delivery.study_id}]",
        f"10:32:17  ✅ SUCCESS     MERCURE: Delivered (30.0s)  [{delivery.study_id}]",
    ]
    assert "── 2026-02-03 ──" in shown


def test_json_is_raw_and_an_object_a_line(site: Site, supervised: SupervisedHost, cli: CommandLine) -> None:
    delivery = site.promise(patient="MÜLLER^JÖRG")
    supervised.log("router").write_text(STORY.format(study=delivery.study_id))
    found = entries(cli("logs", "--json").stdout)

    assert [entry["line"] for entry in found] == STORY.format(study=delivery.study_id).splitlines()
    assert all(entry["schema_version"] == 1 and entry["service"] == "router" for entry in found)
    assert "MÜLLER" not in json.dumps(found), "logs name no patient"


def test_levels_patterns_services_and_numbers_of_lines(supervised: SupervisedHost, cli: CommandLine) -> None:
    supervised.log("router").write_text(STORY.format(study="s1"))
    supervised.log("postgres").write_text("2026-02-03 10:00:00.000 UTC [1] FATAL:  the disk is full\n")

    def events(*options: str) -> list[object]:
        return [entry["event"] or entry["service"] for entry in entries(cli("logs", "--json", *options).stdout)]

    assert events("--errors") == ["postgres", "send_failed"]
    assert events("--warnings", "--service", "router") == ["send_failed", "send_retry_scheduled"]
    assert events("--grep", "connection|DISK") == ["postgres", "send_failed"]
    assert events("-n", "2") == ["send_started", "send_success"]
    assert events("--since", "2026-02-03T10:31:00+00:00") == ["send_started", "send_success"]
    assert cli("logs", "--grep", "(").exit_code == 2
    assert "it runs postgres, router" in cli("logs", "--service", "ohif").stderr


def test_a_study_is_found_by_what_logs_call_it(site: Site, supervised: SupervisedHost, cli: CommandLine) -> None:
    """Logs have its Orthanc id, its deliveries and its jobs; the operator has its accession number."""
    delivery = site.fail(site.promise(accession="ACC-7"))
    other = site.promise("another study", to="MODLINK")
    prefix = "2026-02-03T10:00:00.000Z WARN  [routing]"
    about = [
        f"{prefix} study_unreadable study_id={delivery.study_id}",
        f"{prefix} claim_lost delivery_id={delivery.id} destination=MERCURE",
        f"{prefix} duty_interrupted error=job-123",
    ]
    not_about = [
        f"{prefix} claim_lost delivery_id={other.id} destination=MERCURE",
        f"{prefix} claim_lost delivery_id={delivery.id}0 destination=MERCURE",
    ]
    supervised.log("router").write_text("".join(f"{line}\n" for line in [*about, *not_about]))

    assert [entry["line"] for entry in entries(cli("logs", "--study", "ACC-7", "--json").stdout)] == about
    unknown = cli("logs", "--study", "NOBODY")
    assert unknown.exit_code == 2
    assert "cannot be found out" in unknown.stderr, "Orthanc does not answer here"


def test_without_postgresql_logs_are_still_there(
    site: Site, supervised: SupervisedHost, cli: CommandLine, postgres: PostgresServer
) -> None:
    study = site.promise().study_id
    supervised.log("router").write_text(STORY.format(study=study))
    site.database.close()
    postgres.stop()

    assert "📥 RECEIVED    a study" in cli("logs").stdout
    by_study = cli("logs", "--study", study)
    assert by_study.exit_code == 0
    assert "✅ SUCCESS" in by_study.stdout
    assert "cannot reach PostgreSQL" in by_study.stderr


def test_without_a_database_orthanc_tells_which_study_is_meant(
    site: Site, orthanc: OrthancServer, supervised: SupervisedHost, cli: CommandLine, postgres: PostgresServer
) -> None:
    from tests.support.studies import a_study  # noqa: PLC0415

    study = a_study(accession="ACC-8").with_series("CR").in_(orthanc)
    supervised.log("router").write_text(STORY.format(study=study) + STORY.format(study="other"))
    site.database.close()
    postgres.stop()

    found = entries(cli("logs", "--study", "ACC-8", "--json").stdout)
    assert len(found) == len(STORY.splitlines())


def test_a_log_that_is_empty_says_so_on_stderr(supervised: SupervisedHost, cli: CommandLine) -> None:
    result = cli("logs", "--errors")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "No such line in the logs of PostgreSQL, Router" in result.stderr


def test_following_shows_what_comes_until_ctrl_c(supervised: SupervisedHost, cli: CommandLine) -> None:
    log = supervised.log("router")
    log.write_text(STORY.format(study="s1"))
    with cli.on_screen("logs") as followed:
        followed.shows("Press Ctrl+C to stop")
        with log.open("a") as file:
            file.write("2026-02-03T10:40:00.000Z WARN  [routing] destination_slow destination=MODLINK echo_ms=2100\n")
        followed.shows("MODLINK: C-ECHO took 2100 ms")

        assert followed.interrupted() == 0


def test_a_host_without_a_description_says_what_writes_one(cli: CommandLine) -> None:
    for command in (["logs"], ["start"], ["stop", "--yes"], ["restart", "--yes"]):
        result = cli(*command)
        assert result.exit_code == 2, command
        assert "site.yml" in result.stderr
    assert cli.json("logs")["error"]["kind"] == "HostNotDescribed"


def test_services_are_started_stopped_and_restarted(supervised: SupervisedHost, cli: CommandLine) -> None:
    started = cli("start")
    assert started.exit_code == 0, started.output
    assert "✅ PostgreSQL started" in started.stdout
    assert cli.json("start")["services"][0]["outcome"] == "runs already"

    unasked = cli("stop", "router")
    assert unasked.exit_code == 2
    assert "--yes" in unasked.stderr
    refused, shown = cli.on_terminal("stop", "postgres", answers="n\n")
    assert refused == 1
    assert "Without PostgreSQL: Nothing is received." in shown
    assert {step["outcome"] for step in cli.json("start")["services"]} == {"runs already"}

    stopped, shown = cli.on_terminal("stop", answers="y\n")
    assert stopped == 0
    assert shown.index("Router stopped") < shown.index("PostgreSQL stopped")
    again = cli.json("restart", "--yes")
    assert [step["outcome"] for step in again["services"]] == [
        "stopped already",
        "stopped already",
        "started",
        "started",
    ]


def test_a_service_that_does_not_serve_is_an_error_that_names_its_log(
    supervised: SupervisedHost, cli: CommandLine
) -> None:
    supervised.write(command=["/bin/false"])
    result = cli("start", "postgres")

    assert result.exit_code == 2
    assert "PostgreSQL does not serve" in result.stdout
    assert "orthanc logs --service postgres" in result.stdout
