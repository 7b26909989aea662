"""A router for tests: in this process, where it can be looked into, or in its own, where it can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import BlackHole, Peer

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.model import Delivery, Event, Status
from pacsops.orthanc import ensure
from pacsops.router.service import Router
from pacsops.settings import Settings


def a_route(
    name: str, to: str | list[str], *, match: dict[str, Any] | None = None, send: str = "study", **keys: Any
) -> Any:
    """One route of routes.yml: everything, unless `match` says otherwise; retried quickly."""
    retry = {"max_attempts": 3, "backoff": "constant", "initial_delay": 0.2} | keys.pop("retry", {})
    return {
        "name": name,
        "match": match or {"modality": {"matches": "."}},
        "action": {"send": send, "to": to},
        "retry": retry,
        **keys,
    }


class RoutedSite:
    """A fresh database, an Orthanc, a routes.yml, and a router that can be started, stopped and killed."""

    def __init__(self, settings: Settings, orthanc: OrthancServer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-router-"))
        values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
        self.settings = Settings(**{**values, "routes_file": self.folder / "routes.yml"})
        self.orthanc = orthanc
        self.database = Database(self.settings)
        self.router: Router | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.kill()
        self.database.close()
        if kind is None:
            shutil.rmtree(self.folder)

    def routes(self, *routes: Any) -> None:
        """Replace routes.yml."""
        self.write_routes(yaml.safe_dump({"routes": list(routes)}, sort_keys=False))

    def write_routes(self, text: str) -> None:
        new = self.folder / "routes.yml.new"
        new.write_text(text)
        new.rename(self.settings.routes_file)

    def destination(self, peer: Peer | BlackHole, name: str | None = None) -> str:
        """Make a peer one of Orthanc's modalities; its name."""
        modality = peer.modality(name)
        ensure(self.orthanc.client, modality)
        return modality.name

    def start(self) -> None:
        """A router in this process."""
        self.router = Router(self.settings)
        self.router.start()

    def stop(self) -> None:
        if self.router is not None:
            self.router.stop()
            self.router = None

    def start_process(self, *, killed_at: tuple[str, str] | None = None) -> None:
        """A router of its own process, as a site runs it; or killed at (MODULE:FUNCTION, before|after)."""
        program = ["pacsops.cli.services", "router"]
        if killed_at is not None:
            program = ["tests.support.killed_router", *killed_at]
        env_file = self.folder / ".env"
        env_file.write_text(
            "".join(
                f"{field.name.upper()}={value}\n"
                for field in fields(Settings)
                if (value := getattr(self.settings, field.name)) is not None
                and field.name not in {"env_file", "canary_destinations"}
            )
        )
        with (self.folder / "router.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *program],
                env={**os.environ, "ORTHANC_ENV": str(env_file)},
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )

    def wait_for_process(self, *, within: float = 40) -> int:
        """Until the process has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout=within)
        self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL: no handler, no clean-up."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def trouble(self, duty: str) -> str | None:
        """What keeps the router from a duty, as `orthanc status` tells it."""
        beat = ROUTER.newest(self.database)
        return None if beat is None else beat.detail.get("trouble", {}).get(duty)

    @property
    def log(self) -> str:
        path = self.folder / "router.log"
        return path.read_text() if path.exists() else ""

    def deliveries(self, **wanted: Any) -> list[Delivery]:
        return desk.deliveries(self.database, **wanted)

    def events(self, study_id: str) -> list[Event]:
        return [event.event for event in desk.timeline(self.database, study_id)]

    def wait_for(self, status: Status, count: int = 1, *, within: float = 40, **wanted: Any) -> list[Delivery]:
        """Until exactly `count` deliveries are in this state, and none is in another."""

        def settled() -> list[Delivery] | None:
            found = self.deliveries(**wanted)
            return found if len(found) == count and all(delivery.status == status for delivery in found) else None

        try:
            return eventually(settled, within=within) or []
        except AssertionError:
            raise AssertionError(
                f"not {count} × {status} within {within} s: "
                + (
                    ", ".join(f"{d.destination} {d.status} {d.last_error}" for d in self.deliveries(**wanted))
                    or "none"
                )
            ) from None
