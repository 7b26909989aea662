"""The site of a drill: a gateway as it is deployed, a PostgreSQL of its own, peers, and the wire to one of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml
from tests.support.network import Wire, accepts, eventually, free_port
from tests.support.postgres import PostgresServer

from drill.scanner import AET as SCANNER
from pacsops.database import Database
from pacsops.database.migrate import migrate

AET: Final = "GATEWAY"
RECEIVERS: Final = 2
GATEWAY: Final = ("-m", "pacsops.cli.services", "gateway")
"""What Python runs."""
PACS, ARCHIVE, MOODY = "PACS", "ARCHIVE", "MOODY"
PEERS: Final = (PACS, ARCHIVE, MOODY)
"""PACS is always well. The wire to ARCHIVE is not. MOODY answers as it likes."""
_MODALITIES_OF: Final = {PACS: ("CT", "MR"), ARCHIVE: ("CT",), MOODY: ("MR",)}
_CHECKOUT: Final = Path(__file__).parents[1]
_STABLE_SECONDS: Final = 2
_PATIENT: Final = {"max_attempts": 100, "backoff": "constant", "initial_delay": 1}


def wanted(modality: str) -> list[str]:
    """Where an image has to arrive: what the routes below say, in other words."""
    return [name for name, modalities in _MODALITIES_OF.items() if modality in modalities]


def _routes() -> list[dict[str, Any]]:
    common: dict[str, Any] = {"source": "gateway", "retry": _PATIENT}
    return [
        {"name": "all", "match": {"modality": {"matches": "."}}, "action": {"to": PACS}, **common},
        {"name": "ct", "match": {"modality": "CT"}, "action": {"send": "series", "to": ARCHIVE}, **common},
        {"name": "mr", "when": "study_stable", "match": {"modality": "MR"}, "action": {"to": MOODY}, **common},
    ]


class Site:
    """Runs while its context is open; then everything of it is gone.

    Args:
        program: starts the gateway.
    """

    def __init__(self, program: Sequence[str] = GATEWAY) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-drill-"))
        self.spool = self.folder / "incoming"
        self.postgres = PostgresServer()
        self.port = free_port()
        ports = {name: free_port() for name in PEERS}
        self.wire = Wire(ports[ARCHIVE])
        self.keep_folder = False
        self._ports = ports
        self._program = program
        self._processes: list[subprocess.Popen[bytes]] = []
        self._gateway: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._remove_folder)
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _begin(self) -> None:
        self._stack.enter_context(self.postgres)
        self._stack.enter_context(self.wire)
        self.spool.mkdir()
        settings = self.postgres.create_database()
        self.settings = replace(settings, gateway_spool=self.spool)
        self.database = Database(self.settings, application="pacsops drill")
        self._stack.callback(self.database.close)
        migrate(self.database)
        self._configure()
        self._run("drill.peers", self.folder, *(f"{name}={port}" for name, port in self._ports.items()))
        eventually(lambda: all(accepts(port) for port in self._ports.values()), what="the peers listening")
        self.start_gateway()
        eventually(lambda: accepts(self.port), what="the gateway listening")

    def _end(self) -> None:
        self.kill_gateway()
        for process in self._processes:
            process.kill()
            process.wait()
        self._stack.close()

    def _remove_folder(self) -> None:
        if not self.keep_folder:
            shutil.rmtree(self.folder)

    def _configure(self) -> None:
        ports = {**self._ports, ARCHIVE: self.wire.port}
        configuration = {
            "peers": [{"aet": SCANNER}],
            "destinations": {name: {"host": "127.0.0.1", "port": port, "aet": name} for name, port in ports.items()},
        }
        (self.folder / "gateway.yml").write_text(yaml.safe_dump(configuration))
        (self.folder / "routes.yml").write_text(yaml.safe_dump({"routes": _routes()}))
        values = {
            **self.postgres.settings,
            "POSTGRES_DB": self.settings.postgres_db,
            "ROUTES_FILE": self.folder / "routes.yml",
            "GATEWAY_PORT": self.port,
            "GATEWAY_AET": AET,
            "GATEWAY_SPOOL": self.spool,
            "GATEWAY_FILE": self.folder / "gateway.yml",
            "GATEWAY_RECEIVERS": RECEIVERS,
            "GATEWAY_RESERVE_MIB": 64,
            "GATEWAY_STABLE_SECONDS": _STABLE_SECONDS,
            "GATEWAY_DRILLS": "true",
        }
        (self.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    def start_scanner(self, seed: str) -> subprocess.Popen[bytes]:
        return self._run("drill.scanner", self.folder, self.port, AET, seed)

    def start_gateway(self) -> None:
        """As a service manager would: its parent, which starts the rest."""
        self._gateway = self._gateway or self._popen(*self._program)

    def start_forwarder(self) -> subprocess.Popen[bytes]:
        """A second one, which nobody starts again."""
        process = self._popen(*GATEWAY, "--part", "forwarder")
        self._processes.append(process)
        return process

    def kill_gateway(self) -> None:
        """SIGKILL to the parent, which takes its children along."""
        if self._gateway is not None:
            children = self._children()
            self._gateway.kill()
            self._gateway.wait()
            self._gateway = None
            eventually(lambda: not any(_alive(child) for child in children), what="the gateway's processes ending")

    def parts(self, part: str) -> list[int]:
        """Process ids of its receivers or its forwarder, as far as they run."""
        return [child for child in self._children() if f"--part\0{part}\0".encode() in _command(child)]

    def _children(self) -> list[int]:
        if self._gateway is None:
            return []
        pid = self._gateway.pid
        with suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def _run(self, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        process = self._popen("-m", module, *map(str, arguments))
        self._processes.append(process)
        return process

    def _popen(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "drill.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, "ORTHANC_ENV": str(self.folder / ".env")},
                cwd=_CHECKOUT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def signal_to(process: int, number: signal.Signals) -> None:
    """Unless it is gone."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _command(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _alive(process: int) -> bool:
    return bool(_command(process))
