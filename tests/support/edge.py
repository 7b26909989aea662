"""An edge as it runs at a site: a gateway in processes of its own, AI workers, and a scanner to send to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.model import Delivery, Event
from pacsops.settings import Settings

AET = "MINI_EDGE"
CHECKOUT = Path(__file__).parents[2]
_ROUTES = {
    "routes": [
        {
            "name": "originals",
            "source": "gateway",
            "match": {"series_description": {"not_equals": "AI_RESULT"}},
            "action": {"send": "series", "to": ["PACS", "AI"]},
            "retry": {"max_attempts": 3, "backoff": "constant", "initial_delay": 0.5},
        },
        {
            "name": "results",
            "source": "gateway",
            "match": {"series_description": "AI_RESULT"},
            "action": {"send": "series", "to": "PACS"},
        },
    ]
}


class WorkerProcess:
    """`pacsops worker`, which can be stopped and started again."""

    def __init__(self, name: str, gateway_port: int, folder: Path, *, delay: float = 0.0) -> None:
        self.name = name
        self.port = free_port()
        self.delay = delay
        self._gateway_port = gateway_port
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "WORKER_AET": self.name,
            "WORKER_PORT": str(self.port),
            "WORKER_DELAY_SECONDS": str(self.delay),
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._gateway_port),
            "GATEWAY_AET": AET,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pacsops.cli.services", "worker"],
                env={**os.environ, **environment},
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: accepts(self.port), within=30, what=f"{self.name} listening")

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(timeout=15)
        self._process = None
        return status

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class Edge:
    """A gateway whose originals go to PACS and to a pool of workers, and whose results go to PACS.

    Args:
        pacs: a peer, or a real Orthanc.
        delays: seconds each worker thinks; one worker for each.
        timeout: of the pool.
    """

    def __init__(
        self, settings: Settings, pacs: Peer | OrthancServer, *, delays: tuple[float, ...] = (0.0,), timeout: int = 60
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-edge-"))
        self.spool = self.folder / "incoming"
        self.spool.mkdir()
        self.port = free_port()
        self.database = Database(settings)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.workers = [
            WorkerProcess(f"APP{number:02}", self.port, self.folder, delay=delay)
            for number, delay in enumerate(delays, 1)
        ]
        port, aet = (pacs.port, pacs.aet) if isinstance(pacs, Peer) else (pacs.dicom_port, "ORTHANC")
        destinations = {"PACS": {"host": "127.0.0.1", "port": port, "aet": aet}}
        destinations |= {w.name: {"host": "127.0.0.1", "port": w.port, "aet": w.name} for w in self.workers}
        configuration = {
            "peers": [{"aet": "SCANNER"}, *({"aet": worker.name} for worker in self.workers)],
            "destinations": destinations,
            "pools": {"AI": {"members": [worker.name for worker in self.workers], "timeout": timeout}},
            "results": {"series_description": "AI_RESULT"},
        }
        (self.folder / "gateway.yml").write_text(yaml.safe_dump(configuration))
        (self.folder / "routes.yml").write_text(yaml.safe_dump(_ROUTES))
        names = [field.name for field in fields(Settings) if field.name not in ("env_file", "canary_destinations")]
        said = {name.upper(): value for name in names if (value := getattr(settings, name)) is not None}
        said |= {
            "GATEWAY_PORT": self.port,
            "GATEWAY_AET": AET,
            "GATEWAY_SPOOL": self.spool,
            "GATEWAY_FILE": self.folder / "gateway.yml",
            "GATEWAY_RESERVE_MIB": 1,
            "GATEWAY_DRILLS": "true",
            "ROUTES_FILE": self.folder / "routes.yml",
        }
        (self.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in said.items()))

    def __enter__(self) -> Self:
        self.start()
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for worker in self.workers:
            worker.stop()
        self.database.close()
        if kind is None:
            shutil.rmtree(self.folder)
        else:
            print(self.log[-6000:], *(f"{worker.name}:\n{worker.log[-2000:]}" for worker in self.workers), sep="\n")

    def start(self) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pacsops.cli.services", "gateway"],
                env=dict(self._environment),
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: accepts(self.port), within=30, what="the gateway listening")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=20)
            self._process = None

    def orthanc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The operator's command on this host."""
        return subprocess.run(
            [sys.executable, "-m", "pacsops.cli.main", *arguments],
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def scan(self, *arguments: str) -> dict[str, Any]:
        """What `orthanc simulate scanner` says it sent."""
        answer: dict[str, Any] = json.loads(self.orthanc("simulate", "scanner", *arguments, "--json").stdout)
        return answer

    def a_study(self) -> str:
        """Sent by a scanner, all of it taken; its UID."""
        sent = self.scan("--generate", "1")
        assert (sent["sent"], sent["exit_code"]) == (3, 0)
        [uid] = sent["studies"]
        return str(uid)

    def deliveries(self, study_uid: str) -> list[Delivery]:
        return desk.deliveries(self.database, study_id=study_uid)

    def events(self, study_uid: str) -> list[tuple[Event, str | None]]:
        return [(each.event, each.destination) for each in desk.timeline(self.database, study_uid)]

    def wait_for(self, event: Event, study_uid: str, *, within: float = 40) -> None:
        eventually(
            lambda: event in [each for each, _ in self.events(study_uid)], within=within, what=f"{event} of the study"
        )

    @property
    def log(self) -> str:
        path = self.folder / "gateway.log"
        return path.read_text() if path.exists() else ""

    @property
    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "ORTHANC_ENV": str(self.folder / ".env")}
