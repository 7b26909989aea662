"""Does a service serve? Asked as the catalogue says: a command, a URL or a TCP port.

Runs on the host's own Python, before the toolkit is installed: standard library only.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PROBE_TIMEOUT = 5.0
"""Seconds one question may take."""
PAUSE = 0.3
"""Seconds between two questions to a service that is not healthy yet."""


def trouble(health: Mapping[str, Any]) -> str | None:
    """Ask once: `container`, `command`, `url` (with `username` and `password`) or `host` and `port`, the others None.

    None when healthy, else what is wrong in a few words.
    """
    if health.get("container"):
        return _by_container(health["container"])
    if health["command"]:
        return _by_command(health["command"])
    return _by_url(health) if health["url"] else _by_port(health["host"], health["port"])


def await_healthy(services: Mapping[str, Mapping[str, Any]], timeout: float) -> dict[str, str | None]:
    """Ask all side by side until each is healthy or `timeout` seconds have passed. name -> trouble or None."""
    deadline = time.monotonic() + timeout

    def patiently(health: Mapping[str, Any]) -> str | None:
        while (wrong := trouble(health)) is not None and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return wrong

    if not services:
        return {}
    with ThreadPoolExecutor(max_workers=len(services)) as pool:
        return dict(zip(services, pool.map(patiently, services.values()), strict=True))


def _by_command(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT, check=False, text=True)  # noqa: S603
    except FileNotFoundError:
        return f"there is no {command[0]}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer within {PROBE_TIMEOUT:.0f} s"
    if done.returncode == 0:
        return None
    words = (done.stderr or done.stdout).strip().splitlines()
    return f"{command[0]} ended with {done.returncode}" + (f": {words[-1]}" if words else "")


def _by_container(container: str) -> str | None:
    """As Docker last found it: a container is asked by Docker itself, from inside (HEALTHCHECK)."""
    command = ["docker", "inspect", "--format", "{{json .State}}", container]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT, check=False, text=True)  # noqa: S603
    except FileNotFoundError:
        return "there is no docker command"
    except subprocess.TimeoutExpired:
        return f"Docker gave no answer within {PROBE_TIMEOUT:.0f} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["docker inspect failed"])[-1]
    state = json.loads(done.stdout)
    health = state.get("Health") or {}
    if health.get("Status") == "healthy":
        return None
    told = [entry["Output"].strip() for entry in health.get("Log") or [] if entry["Output"].strip()]
    status = health.get("Status", "not asked") if state["Running"] else state["Status"]
    return f"container {container} is {status}" + (f": {told[-1].splitlines()[-1]}" if told else "")


def _by_url(health: Mapping[str, Any]) -> str | None:
    request = urllib.request.Request(health["url"])  # noqa: S310 - the URL is the inventory's own
    if health["username"]:
        login = f"{health['username']}:{health['password']}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT):  # noqa: S310 - as above
            return None
    except urllib.error.HTTPError as error:
        return f"{health['url']} answers HTTP {error.code}"
    except (urllib.error.URLError, OSError) as error:
        return f"{health['url']} does not answer: {getattr(error, 'reason', error)}"


def _by_port(host: str, port: int) -> str | None:
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT):
            return None
    except OSError as error:
        return f"port {port} takes no connection: {error.strerror or error}"
