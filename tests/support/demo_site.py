"""A demo's inventory deployed into a folder and on ports of its own, and what can be done to it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.network import eventually, free_port

CHECKOUT = Path(__file__).parents[2]
VENV = CHECKOUT / ".venv" / "bin"


@dataclass
class DemoSite:
    """A site in `home`, and what deploying it has shown so far. `always`: variables of every playbook."""

    home: Path
    ports: dict[str, int]
    always: dict[str, object] = field(default_factory=dict)
    inventory: str = "demo"
    """Which of the demos."""
    shown: str = ""
    command_lines: set[str] = field(default_factory=set)
    """Of every process on this machine while it was deployed first."""

    @property
    def variables(self) -> dict[str, object]:
        """What makes the demo's inventory this site's."""
        return {"toolkit_home": str(self.home), **self.ports, **self.always}

    def play(self, playbook: str, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook, whatever comes of it."""
        said = json.dumps({**self.variables, **variables})
        done = subprocess.run(
            [str(VENV / "ansible-playbook"), "-i", f"inventories/{self.inventory}", playbook, "-e", said, *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        self.shown += done.stdout + done.stderr
        return done

    def deploy_watched(self, *arguments: str) -> None:
        """Deploy, taking down the command line of every process there is meanwhile."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        try:
            self.deploy(*arguments)
        finally:
            ended.set()
            watcher.join()

    def deploy(self, *arguments: str, **variables: object) -> int:
        """Run site.yml; the number of changes. AssertionError unless it succeeded."""
        done = self.play("site.yml", *arguments, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return int(re.findall(r"changed=(\d+)", done.stdout)[0])

    def control(self, *words: str) -> str:
        """What supervisorctl prints."""
        command = [str(VENV / "supervisorctl"), "-c", str(self.home / "config" / "supervisord.conf"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout

    def shut_down(self) -> None:
        """End every service, and wait until the last has ended."""
        pid = self.control("pid").strip()
        self.control("shutdown")
        if pid.isdigit():
            eventually(lambda: not Path(f"/proc/{pid}").exists(), within=90, what="the supervisor ending")

    def processes(self) -> dict[str, int]:
        """Service -> process, of those that run."""
        lines = re.findall(r"^(\S+)\s+RUNNING\s+pid (\d+)", self.control("status"), re.MULTILINE)
        return {name: int(pid) for name, pid in lines}

    def secrets(self, *, but: str = "") -> list[str]:
        return [
            path.read_text().split()[0]
            for path in (self.home / "secrets").iterdir()
            if path.is_file() and path.name != but
        ]

    def spawned(self) -> list[str]:
        """Every start of a service so far, by the supervisor's log."""
        return re.findall(r"spawned: '(\w+)'", (self.home / "logs" / "supervisord.log").read_text())

    def orthanc(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The site's own `orthanc` command, without a terminal."""
        command = [str(self.home / "bin" / "orthanc"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.command_lines.add(process.read_text(errors="replace"))
                except OSError:  # it ended meanwhile
                    continue


def undeployed(home: Path, **always: object) -> DemoSite:
    """A site in a folder that is not there yet, on ports that are free."""
    ports = {name: free_port() for name in (*_PORTS, "demo_scanner_button_port")}
    return DemoSite(home, {**ports, "demo_first_neighbour_port": _five_free_ports()}, always)


def undeployed_edge(home: Path, **always: object) -> DemoSite:
    """The same of the edge demo: a gateway, a PACS with a viewer, and five workers."""
    ports = {name: free_port() for name in (*_PORTS, "gateway_port", "gateway_tls_port", "viewer_https_port")}
    return DemoSite(home, {**ports, "demo_first_worker_port": _five_free_ports()}, always, "demo_edge")


_PORTS = ("orthanc_http_port", "orthanc_dicom_port", "database_port", "router_wake_port")


def _five_free_ports() -> int:
    return next(first for first in iter(free_port, None) if all(_is_free(first + n) for n in range(5)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
