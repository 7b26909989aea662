"""service_health's three ways of asking."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.ansible.conftest import RunModule
from tests.support.network import free_port
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer


def test_healthy_and_unhealthy_services_are_told_apart(orthanc: OrthancServer, run_module: RunModule) -> None:
    url = f"{orthanc.url}/changes?last"
    services = [
        {"name": "rest", "health": {"url": url, "username": USERNAME, "password": PASSWORD}},
        {"name": "dicom", "health": {"port": orthanc.dicom_port}},
        {"name": "command", "health": {"command": [sys.executable, "-c", ""]}},
        {"name": "locked", "health": {"url": url, "username": USERNAME, "password": "another-password"}},
        {"name": "closed", "health": {"port": free_port()}},
        {"name": "failing", "health": {"command": [sys.executable, "-c", "raise SystemExit('not yet')"]}},
        {"name": "missing", "health": {"command": ["/nowhere/pg_isready"]}},
    ]
    result = run_module("service_health", {"services": services, "timeout": 0, "fail_on_unhealthy": False})

    troubles = result["services"]
    assert [troubles[name] for name in ("rest", "dicom", "command")] == [None, None, None]
    assert "HTTP 401" in troubles["locked"]
    assert "takes no connection" in troubles["closed"]
    assert "ended with 1: not yet" in troubles["failing"]
    assert "there is no /nowhere/pg_isready" in troubles["missing"]
    assert len(result["findings"]) == 4


def test_a_service_that_comes_up_late_is_waited_for(run_module: RunModule) -> None:
    port = free_port()
    program = f"import socket, time; time.sleep(1); s = socket.create_server(('127.0.0.1', {port})); s.accept()"
    with subprocess.Popen([sys.executable, "-c", program]):
        service = {"name": "late", "health": {"port": port}}
        result = run_module("service_health", {"services": [service], "timeout": 20})

    assert result["services"] == {"late": None}


def test_a_service_that_stays_down_fails_the_task_when_the_time_is_up(run_module: RunModule) -> None:
    started = time.monotonic()
    service = {"name": "router", "health": {"port": free_port()}}
    result = run_module("service_health", {"services": [service], "timeout": 1})

    assert result["failed"]
    assert "router: port" in result["msg"]
    assert time.monotonic() - started >= 1
