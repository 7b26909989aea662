"""A gateway's spool and tables as its receiver and its planning leave them, and a forwarder that sends from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import yaml
from pydicom import Dataset
from tests.support.deliveries import selection
from tests.support.network import eventually

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.model import Delivery, Status
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import StoredInstance
from pacsops.gateway.configuration import Configuration, Destination, parse
from pacsops.gateway.forwarder import Forwarder
from pacsops.routes import Backoff, RetryPolicy
from pacsops.settings import Settings

QUICK = RetryPolicy(max_attempts=3, backoff=Backoff.CONSTANT, initial_delay=0.2)
CHECKOUT = Path(__file__).parents[2]


class Listening(Protocol):
    """Any peer of `tests.support.peers`."""

    @property
    def aet(self) -> str: ...

    @property
    def port(self) -> int: ...


def images(count: int, *kinds: str) -> list[Dataset]:
    """Of one study, in one series for each kind (CT unless said)."""
    study = Study()
    for kind in kinds or ("CT",):
        study.add_series(kind, instances=count)
    return study.datasets


def uid_of(dataset: Dataset) -> str:
    return str(dataset.SOPInstanceUID)


class ForwardingSite:
    """What is received and promised is written at once; the forwarder is started when a test says so."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.settings = replace(settings, gateway_spool=folder / "spool", gateway_file=folder / "gateway.yml")
        self.settings.gateway_spool.mkdir()
        self.database = Database(self.settings)
        self.forwarder: Forwarder | None = None
        self._destinations: dict[str, dict[str, Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.configuration = Configuration()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.kill()
        self.database.close()

    def destination(self, name: str, peer: Listening, **others: Any) -> str:
        """Make a peer a destination of gateway.yml; its name."""
        return self.address(name, peer.port, peer.aet, **others)

    def address(self, name: str, port: int, aet: str = "ANY", **others: Any) -> str:
        self._destinations[name] = {"host": "127.0.0.1", "port": port, "aet": aet, **others}
        text = yaml.safe_dump({"destinations": self._destinations})
        self.settings.gateway_file.write_text(text)
        self.configuration = parse(text)
        return name

    def forget(self, name: str) -> None:
        """Take a destination out of gateway.yml."""
        del self._destinations[name]
        self.configuration = Configuration(
            destinations={key: Destination(name=key, **value) for key, value in self._destinations.items()}
        )

    def receive(self, datasets: Iterable[Dataset]) -> list[str]:
        """As the receiver and the ingest do it; the numbers of the instances."""
        return [
            self.receive_file(part10(dataset), str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID))
            for dataset in datasets
        ]

    def receive_file(self, content: bytes, study_uid: str, series_uid: str = "series") -> str:
        with StoredInstance(content) as stored:
            instance = stored.instance
        file = f"{study_uid}/{instance.sop_instance_uid}.dcm"
        path = self.settings.gateway_spool / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        with self.database.transaction() as tx:
            row = tx.one(
                """
                INSERT INTO gateway_instance (study_uid, series_uid, sop_instance_uid, sop_class_uid,
                    transfer_syntax_uid, file, size, received_at, tags)
                VALUES (%(study)s, %(series)s, %(uid)s, %(sop_class)s, %(syntax)s, %(file)s, %(size)s, now(), '{}')
                RETURNING id
                """,
                study=study_uid,
                series=series_uid,
                uid=instance.sop_instance_uid,
                sop_class=instance.sop_class_uid,
                syntax=instance.transfer_syntax_uid,
                file=file,
                size=len(content),
            )
        return str(row["id"])

    def promise(
        self, destination: str, instances: Iterable[str], *, study: str = "1.2.3", retry: RetryPolicy = QUICK
    ) -> int:
        """Plan a delivery, or more instances of one; its number."""
        identity = StudyIdentity(
            source="gateway",
            study_id=study,
            study_uid=study,
            accession_number=None,
            patient_name=None,
            patient_id=None,
            study_description=None,
            study_date=None,
        )
        chosen = selection(destination, resource=study, instances=instances, retry=retry)
        with self.database.transaction() as tx:
            planned = plan(tx, identity, [chosen], "v1")
        if self.forwarder is not None:
            self.forwarder.wake()
        (number,) = planned.new + planned.grown
        return number

    def start(self) -> None:
        """A forwarder in this process."""
        self.forwarder = Forwarder(self.settings, self.database, lambda: self.configuration)
        self.forwarder.start()

    def stop(self) -> None:
        if self.forwarder is not None:
            self.forwarder.stop()
            self.forwarder = None

    def start_process(self, *options: str) -> None:
        """A forwarder in a process of its own, see `tests.support.forwarder_process`."""
        env_file = self.folder / ".env"
        settings = self.settings
        env_file.write_text(
            f"POSTGRES_HOST={settings.postgres_host}\nPOSTGRES_PORT={settings.postgres_port}\n"
            f"POSTGRES_DB={settings.postgres_db}\nPOSTGRES_USER={settings.postgres_user}\n"
            f"GATEWAY_SPOOL={settings.gateway_spool}\nGATEWAY_FILE={settings.gateway_file}\n"
        )
        with (self.folder / "forwarder.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forwarder_process", *options],
                env={**os.environ, "ORTHANC_ENV": str(env_file)},
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: no handler, no clean-up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        path = self.folder / "forwarder.log"
        return path.read_text() if path.exists() else ""

    def delivery(self, number: int) -> Delivery:
        found = desk.delivery(self.database, number)
        assert found is not None
        return found

    def wait_for(self, number: int, status: Status, *, within: float = 40) -> Delivery:
        """Until the delivery is in this state."""
        try:
            eventually(lambda: self.delivery(number).status == status, within=within)
        except AssertionError:
            raise AssertionError(f"not {status} within {within:g} s: {self.delivery(number)}\n{self.log}") from None
        return self.delivery(number)
