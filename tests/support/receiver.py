"""A gateway for tests that receives: its spool, its gateway.yml, and its processes, which can be killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.support.network import accepts, eventually, free_port

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import Peer, StoredInstance
from pacsops.gateway.spool import files

AET = "GATEWAY"
SCANNER = {"aet": "SCANNER"}


class ReceivingHost:
    """A host with a gateway. Nothing on it but the spool, gateway.yml and .env: no PostgreSQL, no Orthanc."""

    def __init__(self, *, spool: Path | None = None, receivers: int = 1, reserve_mib: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-gateway-"))
        self.spool = spool or self.folder / "incoming"
        self.spool.mkdir(exist_ok=True)
        self.port = free_port()
        self._receivers = receivers
        self._reserve_mib = reserve_mib
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(peers=[SCANNER])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if kind is None:
            shutil.rmtree(self.folder)
        else:
            print(self.log[-6000:])

    @property
    def peer(self) -> Peer:
        """How our own requestor knows it."""
        return Peer("127.0.0.1", self.port, AET)

    @property
    def gateway_file(self) -> Path:
        return self.folder / "gateway.yml"

    def configure(self, **content: Any) -> None:
        """Replace gateway.yml."""
        self.write_configuration(yaml.safe_dump(content))

    def write_configuration(self, text: str) -> None:
        new = self.folder / "gateway.yml.new"
        new.write_text(text)
        new.rename(self.gateway_file)

    def environment(self, **others: object) -> Mapping[str, str]:
        values = {
            "GATEWAY_LISTEN": "127.0.0.1",
            "GATEWAY_PORT": self.port,
            "GATEWAY_AET": AET,
            "GATEWAY_SPOOL": self.spool,
            "GATEWAY_FILE": self.gateway_file,
            "GATEWAY_RECEIVERS": self._receivers,
            "GATEWAY_RESERVE_MIB": self._reserve_mib,
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": 1,  # nothing listens there
            **others,
        }
        env_file = self.folder / ".env"
        env_file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return {**os.environ, "ORTHANC_ENV": str(env_file)}

    def start(self, *program: str, **others: object) -> None:
        """`pacsops gateway --part receiver`, or another program; `others` for its .env."""
        command = program or ("pacsops.cli.services", "gateway", "--part", "receiver")
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.environment(**others),
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )
        eventually(lambda: accepts(self.port) or self._ended(), within=60, what="the gateway listening")

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Processes the started one has."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in listed.split()]

    def wait_for_process(self, *, within: float = 40) -> int:
        """Until the process has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout=within)
        self._process = None
        return status

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self.wait_for_process(within=30)

    def kill(self) -> None:
        """SIGKILL: no handler, no clean-up."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        path = self.folder / "gateway.log"
        return path.read_text() if path.exists() else ""

    def wait_for_log(self, words: str, count: int = 1) -> None:
        eventually(lambda: self.log.count(words) >= count, within=30, what=f"{words!r} in the log")

    @property
    def files(self) -> list[str]:
        """Names of what it has kept."""
        return sorted(found.file for found in files(self.spool))

    @property
    def under_way(self) -> list[Path]:
        """What it has under reception."""
        return list((self.spool / ".receiving").glob("*"))

    def digests(self) -> dict[str, set[str]]:
        """SOP instance UID → digests of the data sets kept for it."""
        found: dict[str, set[str]] = {}
        for file in self.files:
            uid, digest = data_set_of(self.spool / file)
            found.setdefault(uid, set()).add(digest)
        return found


def data_set_of(path: Path) -> tuple[str, str]:
    """SOP instance UID of a file, and the digest of its data set."""
    with StoredInstance(path) as stored:
        digest = hashlib.sha256(path.read_bytes()[stored.offset :]).hexdigest()
        return stored.instance.sop_instance_uid, digest


def ct_files(folder: Path, count: int, *, size: tuple[int, int] = (16, 16), study: Study | None = None) -> list[Path]:
    """Files of CT images of one study."""
    study = study or Study()
    series = study.add_series("CT", sizes=[size] * count)
    written = []
    for dataset in series.datasets:
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        path.write_bytes(part10(dataset))
        written.append(path)
    return written


def same_uid_other_bytes(path: Path) -> Path:
    """A file of the same instance with another last pixel."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    other = path.with_name(f"{path.stem}-{time.monotonic_ns()}.dcm")
    other.write_bytes(content)
    return other


def uids(paths: Iterable[Path]) -> list[str]:
    return [data_set_of(path)[0] for path in paths]
