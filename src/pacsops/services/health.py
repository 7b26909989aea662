"""Does a service serve? Asked as the deployment's catalogue says."""

from __future__ import annotations

import socket
import subprocess

import requests

from pacsops.services.host import Health
from pacsops.settings import Settings

PROBE_SECONDS = 5.0


def trouble(health: Health, settings: Settings) -> str | None:
    """Ask once, for at most five seconds. None when it serves, else what is wrong in a few words."""
    if health.command:
        return _by_command(health.command)
    if health.url:
        return _by_url(health, settings)
    return _by_port(health)


def _by_command(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (the deployment's own words, no shell)
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer within {PROBE_SECONDS:g} s"
    words = (done.stderr or done.stdout).strip().splitlines()
    failed = f"{command[0]} ended with {done.returncode}" + (f": {words[-1]}" if words else "")
    return failed if done.returncode else None


def _by_url(health: Health, settings: Settings) -> str | None:
    login = (settings.orthanc_username, settings.orthanc_password) if health.login else None
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(health.url, auth=login, timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return f"{health.url} does not answer: {type(error).__name__}"
    return None if answer.ok else f"{health.url} answers HTTP {answer.status_code}"


def _by_port(health: Health) -> str | None:
    try:
        with socket.create_connection((health.host, health.port), timeout=PROBE_SECONDS):
            return None
    except OSError as error:
        return f"port {health.port} takes no connection: {error.strerror or error}"
