"""What preflight finds before a deployment, and what it lets pass."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.ansible.conftest import RunModule


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, Any]:
    """Arguments nothing is wrong with."""
    pid_file = str(tmp_path / "supervisord.pid")
    return {"python_minimum": "3.11", "folder": str(tmp_path / "new"), "free_gib": 0.001, "pid_file": pid_file}


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """A process that listens, and its port."""
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_a_sound_site_passes(sound: dict[str, Any], run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    result = run_module("site_preflight", {**sound, "ports": {"orthanc": {"orthanc_http_port": port, "none": 0}}})

    assert result["problems"] == []


def test_every_problem_is_told_at_once(
    sound: dict[str, Any], listener: tuple[int, int], run_module: RunModule
) -> None:
    pid, port = listener
    result = run_module(
        "site_preflight",
        {
            **sound,
            "python_minimum": "9.9",
            "free_gib": 1e9,
            "variables": ["orthanc_aet", "orthanc_htp_port"],
            "known_variables": ["orthanc_aet", "orthanc_http_port"],
            "secrets": {"orthanc_password": 'pass"word'},
            "programs": {"/nowhere/Orthanc": "orthanc", sys.executable: "python3"},
            "ports": {"orthanc": {"orthanc_http_port": port}},
            "routes": [{"name": "sr", "action": {"to": ["MODLNK"]}}, {"name": "qa", "action": {"to": "PACS"}}],
            "destinations": ["MODLINK", "PACS"],
            "more_problems": ["found elsewhere"],
        },
    )

    assert result["failed"]
    expected = [
        "found elsewhere",
        "9.9 or newer is needed",
        "orthanc_htp_port (did you mean orthanc_http_port?)",
        "orthanc_password must be",
        "sends to MODLNK, which is not in orthanc_modalities (did you mean MODLINK?)",
        "sudo apt-get install --no-install-recommends orthanc",
        "GiB are needed",
        f"port {port} for orthanc is taken by process {pid}",
    ]
    assert len(result["problems"]) == len(expected)
    for problem, words in zip(result["problems"], expected, strict=True):
        assert words in problem
    assert 'pass"word' not in str(result)


def test_a_port_our_own_service_holds_is_no_problem(
    sound: dict[str, Any], listener: tuple[int, int], run_module: RunModule
) -> None:
    """The listener is this process's child, as a service is the supervisor's."""
    Path(sound["pid_file"]).write_text(f"{os.getpid()}\n")

    result = run_module("site_preflight", {**sound, "ports": {"orthanc": {"orthanc_http_port": listener[1]}}})

    assert result["problems"] == []


def test_the_pid_file_of_a_supervisor_that_is_gone_excuses_nobody(
    sound: dict[str, Any], listener: tuple[int, int], run_module: RunModule
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    Path(sound["pid_file"]).write_text(f"{gone.pid}\n")

    result = run_module("site_preflight", {**sound, "ports": {"orthanc": {"orthanc_http_port": listener[1]}}})

    assert "is taken by" in result["problems"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may install without being asked for a password")
def test_a_package_that_a_later_task_installs_is_no_problem(sound: dict[str, Any], run_module: RunModule) -> None:
    programs = {"/nowhere/Orthanc": "orthanc", "/nowhere/postgres": "postgresql"}
    result = run_module("site_preflight", {**sound, "programs": programs, "installable": ["orthanc"]})

    [problem] = result["problems"]
    assert problem.startswith("missing: /nowhere/postgres.")


@pytest.mark.parametrize("refusal", [FileNotFoundError, PermissionError])
def test_without_a_sudo_that_works_nothing_is_left_to_a_later_task(
    refusal: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a folder on PATH is closed to the user, looking for sudo ends in a refusal of permission."""
    checks = importlib.import_module("ansible.module_utils.site_preflight")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=refusal("sudo")))

    [problem] = checks.missing_programs({"/nowhere/Orthanc": "orthanc"}, ["orthanc"])

    assert problem.startswith("missing: /nowhere/Orthanc.")
