"""What a host is to run, does; and what its services say is counted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.doctor.conftest import examined, set_in
from tests.support.network import accepts, eventually
from tests.support.services import SupervisedHost, a_service

from pacsops.services import read_host, runtime_of


@pytest.fixture
def host(home: Path, cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedHost]:
    """A supervisor of the test's own; nothing runs yet."""
    supervised = SupervisedHost(tmp_path_factory.mktemp("supervised"))
    set_in(cli, SERVICES_FILE=supervised.file)
    yield supervised
    subprocess.run([*supervised.control, "shutdown"], capture_output=True, check=False, timeout=60)


def run(host: SupervisedHost) -> None:
    known = read_host(host.file)
    subprocess.run(known.begin, check=True, capture_output=True, timeout=60)
    eventually(
        lambda: (
            all(state.condition == "running" for state in runtime_of(known).states().values()) and accepts(host.port)
        ),
        what="the services running",
    )


def test_services_that_run_and_serve_are_well(host: SupervisedHost, cli: CommandLine) -> None:
    run(host)
    findings = examined(cli, "services")

    assert findings.ill == set()
    assert {one["subject"] for one in findings} == {"postgres", "router"}
    assert findings.of("services", "router")["evidence"]["runtime"] == "supervisor"


def test_a_service_that_does_not_run_is_an_error_with_what_is_missing_and_how_to_start_it(
    host: SupervisedHost, cli: CommandLine
) -> None:
    run(host)
    subprocess.run([*host.control, "stop", "postgres"], check=True, capture_output=True, timeout=60)
    findings = examined(cli, "services")

    stopped = findings.of("services", "postgres")
    assert stopped["severity"] == "error"
    assert "PostgreSQL does not run" in stopped["message"]
    assert "Nothing is received." in stopped["message"]
    assert "`orthanc start postgres`" in stopped["recommendation"]
    assert findings.of("services", "router")["severity"] == "ok"


def test_a_service_that_runs_and_does_not_serve_is_an_error(host: SupervisedHost, cli: CommandLine) -> None:
    run(host)
    host.write(command=["/bin/false"])
    found = examined(cli, "services").of("services", "postgres")

    assert found["severity"] == "error"
    assert "runs and does not serve: /bin/false ended with 1" in found["message"]
    assert "`orthanc restart postgres`" in found["recommendation"]


def test_without_its_supervisor_every_service_is_told_as_stopped(host: SupervisedHost, cli: CommandLine) -> None:
    findings = examined(cli, "services")

    assert {(one["subject"], one["severity"]) for one in findings} == {("postgres", "error"), ("router", "error")}


def test_a_runtime_that_is_not_for_this_user_is_told_with_sudo(
    host: SupervisedHost, cli: CommandLine, tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\necho 'permission denied while trying to connect to the Docker daemon' >&2\nexit 1\n"
    )
    docker.chmod(0o755)
    described = {"runtime": "compose", "control": [str(docker)], "begin": [], "start_seconds": 5}
    host.file.write_text(json.dumps({**described, "services": [a_service("orthanc")]}))
    found = examined(cli, "services").of("services")

    assert found["seen"] is False
    assert "may not speak to what runs the services" in found["message"]
    assert found["recommendation"].startswith("sudo ")


def test_a_host_that_nobody_described_is_told(home: Path, cli: CommandLine) -> None:
    set_in(cli, SERVICES_FILE=home / "absent.json")

    assert examined(cli, "services").of("services")["seen"] is False


def test_errors_of_the_last_hour_are_counted_by_service_and_older_ones_are_not(
    host: SupervisedHost, cli: CommandLine
) -> None:
    now = datetime.now(UTC)
    moments = [now - timedelta(hours=2), now - timedelta(minutes=5), now - timedelta(minutes=1)]
    host.log("router").write_text(
        "".join(
            f"{moment:%Y-%m-%dT%H:%M:%S.000Z} {level} [router] something study_id=x\n"
            for moment, level in zip(moments, ("ERROR", "ERROR", "WARN "), strict=True)
        )
    )
    host.log("postgres").write_text(f"{now:%Y-%m-%d %H:%M:%S.000} UTC [1] LOG:  checkpoint\n")
    found = examined(cli, "logs").of("logs")

    assert found["severity"] == "warning"
    assert found["evidence"] == {"errors": {"router": 1}, "warnings": {"router": 1}}
    assert "orthanc logs --errors --since 1h" in found["recommendation"]

    host.log("router").write_text(f"{now:%Y-%m-%dT%H:%M:%S.000Z} WARN  [router] something\n")
    assert examined(cli, "logs").ill == set()
