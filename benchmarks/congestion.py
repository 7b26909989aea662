"""Receiving with the whole gateway while a hundred thousand deliveries wait for a destination that is away."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import yaml
from tests.support.network import eventually, free_port
from tests.support.postgres import PostgresServer
from tests.support.receiver import AET, ReceivingHost
from tests.support.spool import a_gateway_route

from benchmarks.measure import Figure, in_turns
from benchmarks.parts import migrated
from benchmarks.traffic import AET as SENDER
from benchmarks.traffic import images, send
from pacsops.database import Database
from pacsops.dimse import Peer

WAITING = 100_000
IMAGES = 200
SIZE = (64, 80)
ROUNDS = 3


@dataclasses.dataclass
class Gateway:
    """A gateway whose one destination does not answer."""

    host: ReceivingHost
    database: Database
    recorded: list[float] = dataclasses.field(default_factory=list)
    """Of each round: images a second, from the first one sent to the last one written down and promised."""

    def receive(self, folder: Path) -> float:
        """Images received a second."""
        files = images(folder, IMAGES, SIZE)
        before = self._count()
        started = time.perf_counter()
        send(Peer("127.0.0.1", self.host.port, AET), files, 8)
        sent = time.perf_counter() - started
        eventually(lambda: self._count() == before + IMAGES, within=60, what="the images written down")
        self.recorded.append(IMAGES / (time.perf_counter() - started))
        return IMAGES / sent

    def _count(self) -> int:
        with self.database.transaction() as tx:
            return int(tx.one("SELECT count(*) AS images FROM gateway_instance")["images"])


def measure(postgres: PostgresServer) -> list[Figure]:
    """Two gateways take turns; behind one of them the deliveries wait."""
    with _gateway(postgres) as burdened, _gateway(postgres) as free, _folders() as folder:
        _burden(burdened.database)
        value, peer_value = in_turns(
            partial(_received, burdened, folder), partial(_received, free, folder), rounds=ROUNDS
        )
    recorded, peer_recorded = (sorted(system.recorded[1:])[ROUNDS // 2] for system in (burdened, free))
    name = f"images of 10 KiB into the whole gateway while {WAITING:,} deliveries wait"
    return [
        Figure(name=f"{name}, {what}", value=ours, unit="instances/s", peer="ourselves with none", peer_value=other)
        for what, ours, other in (
            ("received", value, peer_value),
            ("received, written down and promised", recorded, peer_recorded),
        )
    ]


def _received(gateway: Gateway, folder: Callable[[], Path]) -> float:
    return gateway.receive(folder())


@contextmanager
def _folders() -> Iterator[Callable[[], Path]]:
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@contextmanager
def _gateway(postgres: PostgresServer) -> Iterator[Gateway]:
    with migrated(postgres) as (settings, database), ReceivingHost() as host:
        routes = host.folder / "routes.yml"
        routes.write_text(yaml.safe_dump({"routes": [a_gateway_route("all", "AWAY", retry={"max_attempts": 100})]}))
        host.configure(
            peers=[{"aet": SENDER, "associations": 64}],
            destinations={"AWAY": {"host": "127.0.0.1", "port": free_port(), "aet": "AWAY"}},
        )
        host.start(
            *("pacsops.cli.services", "gateway"),
            **postgres.settings,
            POSTGRES_DB=settings.postgres_db,
            ROUTES_FILE=routes,
        )
        host.wait_for_log("spool_reconciled")
        host.wait_for_log("config_reloaded")
        yield Gateway(host, database)
        host.stop()


def _burden(database: Database) -> None:
    with database.transaction() as tx:
        tx.run(
            """
            INSERT INTO routing_state (source, level, resource_id, route_name, destination, study_id, instances,
                content_fingerprint, route_version)
            SELECT 'gateway', 'study', '1.2.' || number, 'all', 'AWAY', '1.2.' || number, '{1,2,3,4}', 'none', 'v1'
              FROM generate_series(1, %(waiting)s) AS number
            """,
            waiting=WAITING,
        )
        tx.run("INSERT INTO destination_health (destination) VALUES ('AWAY') ON CONFLICT DO NOTHING")
        tx.run("UPDATE destination_health SET breaker = 'open', next_probe_at = now() + interval '1 hour'")
