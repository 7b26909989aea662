"""Storage SCPs to send to, each as a process of its own and writing to the same disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer
from tests.support.receiver import AET, ReceivingHost

from benchmarks.traffic import AET as SENDER
from pacsops.dimse import Peer


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where it listens, and how it forgets what it has: an image that it knows would be another measurement."""

    name: str
    peer: Peer
    clear: Callable[[], None]
    pids: tuple[int, ...] = ()


@contextmanager
def gateway(processes: int) -> Iterator[Receiver]:
    """Our receivers, without anything that takes up what they received."""
    with ReceivingHost() as host:
        host.configure(peers=[{"aet": SENDER, "associations": 64}])
        host.start()
        others = [_beside(host) for _ in range(processes - 1)]
        try:
            host.wait_for_log("receiver_started", processes)
            peer = Peer("127.0.0.1", host.port, AET)
            pids = (host.pid, *(other.pid for other in others))
            name = "our gateway" if processes == 1 else f"our gateway, {processes} receivers"
            yield Receiver(name, peer, lambda: _empty(host.spool), pids)
        finally:
            for other in others:
                other.terminate()
                other.wait()
            host.stop()


def _beside(host: ReceivingHost) -> subprocess.Popen[bytes]:
    """One more on the same port."""
    with (host.folder / "gateway.log").open("ab") as log:
        command = [sys.executable, "-m", "pacsops.cli.services", "gateway", "--part", "receiver"]
        return subprocess.Popen(command, env=host.environment(), stdout=log, stderr=log)


@contextmanager
def storescp() -> Iterator[Receiver]:
    """DCMTK's, a process for each association."""
    port = free_port()
    with _folder() as folder, _process(port, "/usr/bin/storescp", "--fork", "-od", str(folder), str(port)):
        yield Receiver("DCMTK storescp (no fsync)", Peer("127.0.0.1", port, "ANY"), lambda: _empty(folder))


@contextmanager
def pynetdicom() -> Iterator[Receiver]:
    """pynetdicom's, with a handler that waits for the disk."""
    port = free_port()
    with (
        _folder() as folder,
        _process(port, sys.executable, "-m", "benchmarks.fsyncing_scp", str(folder), str(port)) as process,
    ):
        peer = Peer("127.0.0.1", port, "ANY")
        yield Receiver("a pynetdicom SCP that fsyncs", peer, lambda: _empty(folder), (process.pid,))


@contextmanager
def orthanc(postgres: PostgresServer) -> Iterator[Receiver]:
    """Orthanc as deployed, its index in PostgreSQL."""
    with OrthancServer(postgres=postgres) as server:
        peer = Peer("127.0.0.1", server.dicom_port, server.aet)
        yield Receiver("Orthanc, index in PostgreSQL", peer, server.clear)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder:
        yield Path(folder)


@contextmanager
def _process(port: int, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            eventually(lambda: accepts(port), what=f"{command[0]} listening")
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _empty(folder: Path) -> None:
    """Of instances; what the program keeps besides stays."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            shutil.rmtree(entry)
        elif entry.is_file() and not entry.name.startswith("."):
            entry.unlink()
