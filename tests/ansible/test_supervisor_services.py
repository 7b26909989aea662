"""A real supervisor, and what a deployment makes of it: also of one that an earlier deployment left half way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.conftest import RunModule
from tests.support.network import eventually

SUPERVISORD = str(Path(sys.executable).with_name("supervisord"))
Deploy = Callable[..., dict[str, Any]]


def described(**services: str) -> str:
    """Services that sleep, name -> what their CONFIGURATION says."""
    return "".join(
        f'[program:{name}]\ncommand = /bin/sleep 600\nenvironment = CONFIGURATION="{said}"\nstartsecs = 0\n'
        for name, said in services.items()
    )


@pytest.fixture
def deploy(tmp_path: Path, run_module: RunModule) -> Iterator[Deploy]:
    """Run the module: what is described, what is to be brought up."""
    configuration, log = tmp_path / "supervisord.conf", "supervisord.log"

    def run(services: str, *names: str, check: bool = False, log: str = log) -> dict[str, Any]:
        content = (
            f"[supervisord]\npidfile = {tmp_path}/pid\nlogfile = {tmp_path}/{log}\n"
            f"[unix_http_server]\nfile = {tmp_path}/socket\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[include]\nfiles = {tmp_path}/services.conf\n"
        )
        arguments = {
            "configuration": str(configuration),
            "configuration_content": content,
            "services_file": str(tmp_path / "services.conf"),
            "services_secret": services,
            "socket": str(tmp_path / "socket"),
            "start": [sys.executable, "-W", "ignore", SUPERVISORD, "-c", str(configuration)],
            "services": list(names),
            "timeout": 30,
        }
        return run_module("supervisor_services", arguments, check=check)

    yield run
    if (tmp_path / "pid").exists():
        pid = int((tmp_path / "pid").read_text())
        subprocess.run(["kill", str(pid)], check=False)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), within=20, what="the supervisor's end")


def processes(folder: Path) -> dict[str, tuple[str, str]]:
    """Service -> its process, and the configuration it was started with."""
    told = subprocess.run(
        [SUPERVISORD.replace("supervisord", "supervisorctl"), "-s", f"unix://{folder}/socket", "status"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.findall(r"^(\S+)\s+RUNNING\s+pid (\d+)", told, re.MULTILINE)
    return {name: (pid, _configuration(pid)) for name, pid in found}


def _configuration(pid: str) -> str:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return next(entry.removeprefix("CONFIGURATION=") for entry in entries if entry.startswith("CONFIGURATION="))


def configurations(folder: Path) -> dict[str, str]:
    return {name: said for name, (_, said) in processes(folder).items()}


def test_a_service_starts_when_its_turn_comes_and_not_before(deploy: Deploy, tmp_path: Path) -> None:
    """A role lays down what its service reads; the supervisor must not start it earlier."""
    first = deploy(described(postgres="a", orthanc="a"))
    assert (first["changed"], first["pending"], processes(tmp_path)) == (True, ["orthanc", "postgres"], {})

    deploy(described(postgres="a", orthanc="a"), "postgres")
    eventually(lambda: configurations(tmp_path) == {"postgres": "a"}, within=10, what="postgres alone")

    deploy(described(postgres="a", orthanc="a"), "orthanc")
    eventually(lambda: len(configurations(tmp_path)) == 2, within=10, what="both")
    before = processes(tmp_path)
    again = deploy(described(postgres="a", orthanc="a"), "postgres", "orthanc")

    assert (again["changed"], again["pending"]) == (False, [])
    assert processes(tmp_path) == before


def test_only_what_is_described_otherwise_is_restarted(deploy: Deploy, tmp_path: Path) -> None:
    deploy(described(postgres="a", orthanc="a"), "postgres", "orthanc")
    eventually(lambda: len(processes(tmp_path)) == 2, within=10, what="both")
    before = processes(tmp_path)

    looked = deploy(described(postgres="a", orthanc="b"), check=True)
    assert (looked["changed"], looked["pending"], processes(tmp_path)) == (True, ["orthanc"], before)

    deploy(described(postgres="a", orthanc="b"), "postgres", "orthanc")
    eventually(lambda: configurations(tmp_path).get("orthanc") == "b", within=10, what="the other orthanc")

    assert processes(tmp_path)["postgres"] == before["postgres"]


def test_what_a_deployment_described_and_did_not_restart_the_next_one_does(deploy: Deploy, tmp_path: Path) -> None:
    deploy(described(orthanc="a"), "orthanc")
    deploy(described(orthanc="b"))  # and was cut short here

    again = deploy(described(orthanc="b"))
    assert again["pending"] == ["orthanc"]

    deploy(described(orthanc="b"), "orthanc")
    eventually(lambda: configurations(tmp_path) == {"orthanc": "b"}, within=10, what="the other orthanc")


def test_what_somebody_stopped_is_pending_and_started(deploy: Deploy, tmp_path: Path) -> None:
    deploy(described(orthanc="a"), "orthanc")
    control = [SUPERVISORD.replace("supervisord", "supervisorctl"), "-s", f"unix://{tmp_path}/socket"]
    subprocess.run([*control, "stop", "orthanc"], check=True, capture_output=True)

    assert deploy(described(orthanc="a"))["pending"] == ["orthanc"]

    deploy(described(orthanc="a"), "orthanc")
    eventually(lambda: configurations(tmp_path) == {"orthanc": "a"}, within=10, what="orthanc")


def test_a_supervisor_that_is_configured_otherwise_starts_anew_with_its_services(
    deploy: Deploy, tmp_path: Path
) -> None:
    deploy(described(orthanc="a"), "orthanc")
    eventually(lambda: len(processes(tmp_path)) == 1, within=10, what="orthanc")

    changed = deploy(described(orthanc="a"), log="another.log")

    assert changed["changed"]
    assert changed["diff"]
    eventually(lambda: configurations(tmp_path) == {"orthanc": "a"}, within=10, what="orthanc")
    assert (tmp_path / "another.log").exists()


def test_passwords_of_services_are_not_told(deploy: Deploy, tmp_path: Path) -> None:
    told = deploy(described(orthanc="secret.of.orthanc"), "orthanc")

    assert "secret.of.orthanc" not in str(told)
    assert (tmp_path / "services.conf").stat().st_mode & 0o077 == 0
