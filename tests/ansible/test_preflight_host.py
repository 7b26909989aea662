"""What preflight finds on a host, and what it lets pass."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.ansible.conftest import RunModule

checks: Any = importlib.import_module("ansible.module_utils.preflight_host")
ports: Any = importlib.import_module("ansible.module_utils.preflight_ports")


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, Any]:
    """Arguments nothing is wrong with."""
    return {
        "python": sys.executable,
        "python_minimum": "3.11",
        "any_os": True,
        "runtime": "supervisor",
        "folder": str(tmp_path / "new"),
        "free_gib": 0.001,
        "controller_time": time.time(),
        "clock_difference": 0,
        "ntp": False,
        "pid_file": str(tmp_path / "supervisord.pid"),
        "secrets_folder": str(tmp_path / "secrets"),
        "secrets_missing": False,
    }


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


def saying(answers: dict[str, str | None]) -> Callable[..., str | None]:
    """Programs that answer by their words, and fail at others."""
    return lambda *command: answers.get(" ".join(command))


def test_a_sound_host_passes(sound: dict[str, Any], run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    wanted = {"orthanc": {"orthanc_http_port": port, "none": 0}}
    names = {"database_host": "127.0.0.1", "orthanc_url": "localhost"}
    result = run_module("site_preflight", {**sound, "ports": wanted, "names": names})

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
            "rooms": {sound["folder"] + "/incoming": 2e9},
            "memory_mib": 10**9,
            "controller_time": time.time() - 3600,
            "clock_difference": 5,
            "names": {"orthanc_modalities: PACS": "no-such-host.invalid"},
            "programs": {"/nowhere/Orthanc": "orthanc", sys.executable: "python3"},
            "ports": {"orthanc": {"orthanc_http_port": port}},
        },
    )

    expected = [
        "9.9 or newer is needed",
        "sudo apt-get install --no-install-recommends orthanc",
        "1000000000 GiB are needed",
        "2000000000 GiB are needed",
        "1000000000 MiB of memory",
        "s ahead of the controller's",
        "no-such-host.invalid (orthanc_modalities: PACS) has no address here",
        f"port {port} for orthanc is taken by process {pid}",
    ]
    assert len(result["problems"]) == len(expected), result
    for problem, words in zip(result["problems"], expected, strict=True):
        assert words in problem


@pytest.mark.parametrize(
    ("release", "tried"),
    [
        ('ID=debian\nVERSION_ID="12"\n', True),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', True),
        ('ID="rocky"\nVERSION_ID="9.4"\n', False),
        ("ID=debian\n", False),
    ],
)
def test_a_system_that_was_never_tried_is_told(release: str, tried: bool, tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text(release)

    assert (list(checks.system_problems(checks.os_release(file))) == []) is tried


@pytest.mark.parametrize(
    ("engine", "compose", "words"),
    [
        ("20.10.24+dfsg1", "2.26.1-4", []),
        ("28.1.1", "v2.35.1", []),
        ("19.03.8", "2.19.9", ["Docker 19.03.8 is too old: 20.10", "Docker Compose 2.19.9 is too old: 2.20"]),
        (None, None, ["the Docker engine does not answer", "Compose is not there"]),
    ],
)
def test_containers_need_an_engine_and_compose(engine: str | None, compose: str | None, words: list[str]) -> None:
    say = saying(
        {
            "docker --version": "Docker",
            "docker version --format {{.Server.Version}}": engine,
            "docker compose version --short": compose,
        }
    )
    problems = list(checks.runtime_problems("compose", [], say))

    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_docker_that_a_later_task_installs_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "may_install", lambda: True)

    assert list(checks.runtime_problems("compose", ["docker.io", "docker-compose"], saying({}))) == []
    [problem] = checks.runtime_problems("compose", [], saying({}))
    assert problem.startswith("Docker is not there")


def test_units_need_systemd_and_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert list(checks.runtime_problems("systemd", [], booted=True)) == []

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    without = list(checks.runtime_problems("systemd", [], booted=False))

    assert ["PID 1 is another" in without[0], "ansible_become" in without[1]] == [True, True]


def test_the_python_that_is_asked_is_the_packages() -> None:
    say = saying({"/opt/python -c import platform; print(platform.python_version())": "3.10.12"})

    assert list(checks.python_problems((3, 10), "/opt/python", say)) == []
    [old] = checks.python_problems((3, 11), "/opt/python", say)
    [missing] = checks.python_problems((3, 11), "/nowhere/python", say)
    assert "/opt/python is Python 3.10.12; 3.11 or newer is needed" in old
    assert "/nowhere/python does not run" in missing


@pytest.mark.parametrize(
    ("now", "synchronised", "words"),
    [
        (1000.0, True, []),
        (1004.9, True, []),
        (1060.0, True, ["60 s ahead of the controller's"]),
        (940.0, False, ["60 s behind the controller's", "is not synchronised"]),
    ],
)
def test_a_clock_that_is_wrong_or_nobodys_is_told(now: float, synchronised: bool, words: list[str]) -> None:
    problems = list(checks.clock_problems(1000.0, 5.0, now=now, synchronised=synchronised, must_be_synchronised=True))

    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_the_kernel_tells_whether_its_clock_is_synchronised() -> None:
    assert checks.clock_synchronised() in {True, False}


def test_names_are_asked_side_by_side_and_addresses_not_at_all() -> None:
    asked = []

    def resolve(name: str, _: object) -> None:
        asked.append(name)
        if name == "pcas":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    names = {"database_host": "db1", "PACS": "pcas", "CT1": "192.0.2.1", "CT2": "2001:db8::1", "MR1": "db1"}
    problems = list(checks.name_problems(names, resolve))

    assert problems == ["pcas (PACS) has no address here: Name or service not known"]
    assert sorted(asked) == ["db1", "pcas"]


def test_memory_is_compared_with_what_there_is() -> None:
    meminfo = "MemTotal:        4030296 kB\nMemFree:  100 kB\n"

    assert list(checks.memory_problems(3935, meminfo)) == []
    assert "it has 3935 MiB" in next(checks.memory_problems(3936, meminfo))


def test_a_site_that_runs_is_not_given_new_passwords_by_a_stranger(tmp_path: Path) -> None:
    assert list(checks.stranger_problems(tmp_path, "secrets", secrets_missing=True)) == []

    (tmp_path / ".env").touch()

    assert list(checks.stranger_problems(tmp_path, "secrets", secrets_missing=False)) == []
    assert "none of its passwords" in next(checks.stranger_problems(tmp_path, "secrets", secrets_missing=True))


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


def test_a_port_of_our_containers_is_no_problem(tmp_path: Path, listener: tuple[int, int]) -> None:
    wanted = {"orthanc": {"orthanc_http_port": listener[1]}}

    assert list(ports.port_problems(wanted, tmp_path / "none", "pacsops", published={listener[1]})) == []
    assert list(ports.port_problems(wanted, tmp_path / "none", "pacsops", published={listener[1] + 1}))


def test_dockers_list_of_ports_is_understood() -> None:
    listed = "0.0.0.0:8042->8042/tcp, :::8042->8042/tcp, 127.0.0.1:5000-5002->5000-5002/tcp\n4242/tcp\n"

    assert ports.ports_in(listed) == {8042, 5000, 5001, 5002}


@pytest.mark.parametrize(
    ("group", "ours"),
    [
        ("0::/system.slice/pacsops-orthanc.service\n", True),
        ("1:name=systemd:/system.slice/pacsops-postgres.service/worker\n", True),
        ("0::/system.slice/orthanc.service\n", False),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", False),
    ],
)
def test_the_units_of_the_toolkit_are_known_by_their_control_group(group: str, ours: bool) -> None:
    assert (ports.OUR_UNIT.search(group) is not None) is ours


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may install without being asked for a password")
def test_a_package_that_a_later_task_installs_is_no_problem() -> None:
    programs = {"/nowhere/Orthanc": "orthanc", "/nowhere/postgres": "postgresql"}

    [problem] = checks.missing_programs(programs, ["orthanc"])

    assert problem.startswith("missing: /nowhere/postgres.")


@pytest.mark.parametrize("refusal", [FileNotFoundError, PermissionError])
def test_without_a_sudo_that_works_nothing_is_left_to_a_later_task(
    refusal: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a folder on PATH is closed to the user, looking for sudo ends in a refusal of permission."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=refusal("sudo")))

    [problem] = checks.missing_programs({"/nowhere/Orthanc": "orthanc"}, ["orthanc"])

    assert problem.startswith("missing: /nowhere/Orthanc.")
