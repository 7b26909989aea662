"""What the gateway's forwarder sends from its spool, beside Orthanc's store job and DCMTK's sender."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from pydicom import dcmread
from tests.support.deliveries import identity, selection
from tests.support.forwarding import ForwardingSite
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer

from benchmarks import receivers
from benchmarks.measure import Figure, in_turns
from benchmarks.parts import cpu_seconds, migrated, peak_mebibytes
from benchmarks.receivers import Receiver
from benchmarks.traffic import SIZES, images, per_second, shares, storescu
from pacsops.delivery.planner import plan
from pacsops.orthanc import Modality, ensure
from pacsops.routes import RetryPolicy

ROUNDS = 3
_CT, _SMALL = SIZES
CASES = ((_CT, "storescp", (1, 4, 16)), (_SMALL, "storescp", (1, 4)), (_CT, "orthanc", (1, 4)))
"""What is sent where, and on how many associations."""
_PATIENT = RetryPolicy(max_attempts=1)
_numbers = count(1)


def measure(postgres: PostgresServer) -> list[Figure]:
    """Instances a second, from files to files, all of them promised before the clock starts."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pacsops-bench-"))
        settings, _ = stack.enter_context(migrated(postgres))
        gateway = stack.enter_context(ForwardingSite(settings, Path(folder)))
        orthanc = stack.enter_context(OrthancServer())
        targets = {
            "storescp": stack.enter_context(receivers.storescp()),
            "orthanc": stack.enter_context(receivers.orthanc(postgres)),
        }
        for name, target in targets.items():
            gateway.address(name, target.peer.port, target.peer.aet, associations=max(CASES[0][2]))
            ensure(orthanc.client, Modality(name=name, aet=target.peer.aet, host="127.0.0.1", port=target.peer.port))
        gateway.start_process()
        for (what, number, size), name, associations in CASES:
            with _files(number, size) as files:
                for lanes in associations:
                    title = f"{what}: our forwarder → {targets[name].name}, {lanes} association{'s' * (lanes > 1)}"
                    figures += _beside_each_other(title, files, gateway, orthanc, name, targets[name], lanes)
        figures += _costs(gateway, targets["storescp"])
    return figures


def _beside_each_other(
    title: str,
    files: Sequence[Path],
    gateway: ForwardingSite,
    orthanc: OrthancServer,
    name: str,
    target: Receiver,
    lanes: int,
) -> list[Figure]:
    number = len(files)
    ours = _forwards(gateway, files, name, lanes, target.clear)
    store = _stores(orthanc, files, name, lanes)
    value, job, dcmtk = in_turns(
        ours,
        per_second(number, store, target.clear),
        per_second(number, partial(storescu, target.peer, files, lanes), target.clear),
        rounds=ROUNDS,
    )
    return [
        Figure(name=title, value=value, unit="instances/s", peer=peer, peer_value=peer_value)
        for peer, peer_value in (("Orthanc's store job", job), ("DCMTK storescu", dcmtk))
    ]


def _forwards(
    gateway: ForwardingSite, files: Sequence[Path], destination: str, lanes: int, clear: Callable[[], None]
) -> Callable[[], float]:
    """By PostgreSQL's clock: from the first claim to the last end."""
    ids = [
        [gateway.receive_file(file.read_bytes(), f"1.2.{next(_numbers)}") for file in share]
        for share in shares(files, lanes)
    ]

    def measured() -> float:
        clear()
        studies = [f"study {next(_numbers)}" for _ in ids]
        with gateway.database.transaction() as tx:
            for study, instances in zip(studies, ids, strict=True):
                wanted = selection(destination, resource=study, instances=instances, retry=_PATIENT)
                plan(tx, replace(identity(study), source="gateway"), [wanted], "v1")
        eventually(lambda: _done(gateway, studies), within=60, what="the deliveries arriving")
        with gateway.database.transaction() as tx:
            row = tx.one(
                "SELECT extract(epoch FROM max(completed_at) - min(attempt_started_at)) AS seconds"
                " FROM routing_state WHERE study_id = ANY (%(studies)s)",
                studies=studies,
            )
        return len(files) / float(row["seconds"])

    return measured


def _done(gateway: ForwardingSite, studies: Sequence[str]) -> bool:
    with gateway.database.transaction() as tx:
        rows = tx.all("SELECT status FROM routing_state WHERE study_id = ANY (%(studies)s)", studies=studies)
    statuses = {row["status"] for row in rows}
    assert not statuses & {"stuck", "failed"}, statuses
    return statuses == {"success"}


def _stores(orthanc: OrthancServer, files: Sequence[Path], modality: str, lanes: int) -> Callable[[], None]:
    """A job for each share, as many at a time."""
    ids = orthanc.upload(dcmread(file) for file in files)
    jobs = [ids[number::lanes] for number in range(lanes)]

    def store() -> None:
        with ThreadPoolExecutor(lanes) as threads:
            for _ in threads.map(lambda job: orthanc.client.post(f"/modalities/{modality}/store", job), jobs):
                pass

    return store


def _costs(gateway: ForwardingSite, target: Receiver) -> list[Figure]:
    """What an image costs the forwarder."""
    figures = []
    for what, number, size in SIZES:
        with _files(number, size) as files:
            send = _forwards(gateway, files, "storescp", 4, target.clear)
            before = cpu_seconds(gateway.pid)
            for _ in range(ROUNDS):
                send()
            milliseconds = 1000 * (cpu_seconds(gateway.pid) - before) / (ROUNDS * number)
        figures.append(Figure(name=f"{what}: forwarder's CPU for each", value=milliseconds, unit="ms"))
    return [*figures, Figure(name="forwarder's memory at its peak", value=peak_mebibytes(gateway.pid), unit="MiB")]


@contextmanager
def _files(number: int, size: tuple[int, int]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
        yield images(Path(folder), number, size)
