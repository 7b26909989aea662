"""Services of a host as a deployment describes them, and programs that stand for those of a runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.network import free_port

from pacsops.services import Host

PROGRAMS = Path(sys.executable).parent


def a_service(name: str, **said: Any) -> dict[str, Any]:
    """An entry of services.json that serves as soon as it runs."""
    entry = {"name": name, "title": name.title(), "unit": name, "after": [], "health": {"command": ["/bin/true"]}}
    return {**entry, "without": "", "log": "text", "log_file": "", "stop_seconds": 5, **said}


def a_host(runtime: str, *services: Mapping[str, Any], control: Sequence[str] = (), **said: Any) -> Host:
    document = {"runtime": runtime, "control": list(control), "begin": [], "start_seconds": 5, **said}
    return Host.of({**document, "services": list(services)}, "orthanc")


class SupervisedHost:
    """A real supervisor in a folder, with two services: one that takes connections, and one that needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "config" / "services.json"
        for name in ("config", "logs"):
            (folder / name).mkdir()
        self._configuration = folder / "config" / "supervisord.conf"
        listening = f"{sys.executable} -u -m http.server {self.port} --bind 127.0.0.1"
        self._configuration.write_text(
            f"[supervisord]\npidfile={folder}/pid\nlogfile={folder}/logs/supervisord.log\n"
            f"[unix_http_server]\nfile={folder}/socket\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{folder}/socket\n"
            + self._program("postgres", listening)
            + self._program("router", "/bin/sleep 600")
        )
        self.write()

    @property
    def control(self) -> list[str]:
        return [str(PROGRAMS / "supervisorctl"), "-c", str(self._configuration)]

    def write(self, **health: Any) -> None:
        """What the command is to know; with another `health` of the first service than its port."""
        services = [
            a_service(
                "postgres",
                title="PostgreSQL",
                health=health or {"port": self.port},
                without="Nothing is received.",
                log="postgresql",
                log_file=str(self.log("postgres")),
            ),
            a_service("router", after=["postgres"], log="logfmt", log_file=str(self.log("router"))),
        ]
        document = {
            "runtime": "supervisor",
            "control": self.control,
            "begin": [str(PROGRAMS / "supervisord"), "-c", str(self._configuration)],
            "start_seconds": 5,
            "services": services,
        }
        self.file.write_text(json.dumps(document))

    def log(self, service: str) -> Path:
        return self.folder / "logs" / f"{service}.log"

    def _program(self, name: str, command: str) -> str:
        return (
            f"[program:{name}]\ncommand={command}\nstartsecs=0\nautostart=true\nautorestart=true\n"
            f"redirect_stderr=true\nstdout_logfile={self.folder}/logs/{name}.out\n"
        )


class Programs:
    """A folder whose programs are found first: each prints and complains as it is told, and notes its calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, *, prints: str = "", complains: str = "", code: int = 0) -> None:
        (self._folder / f"{name}.out").write_text(prints)
        path = self._folder / name
        path.write_text(
            f'#!/bin/sh\necho "$*" >> {self._folder}/{name}.calls\ncat {self._folder}/{name}.out\n'
            f"[ -z '{complains}' ] || echo '{complains}' >&2\nexit {code}\n"
        )
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """Its arguments, a line a call."""
        return (self._folder / f"{name}.calls").read_text().splitlines()
