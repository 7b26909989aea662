"""A gateway's spool without receivers: files as they leave them, and what the forwarder process makes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from tests.support.studies import StudyBuilder

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery import claims, desk, outcomes
from pacsops.delivery.model import Delivery, Event
from pacsops.dimse.part10 import Instance, file_meta
from pacsops.gateway import configuration
from pacsops.gateway.ingest import Ingest
from pacsops.gateway.planning import Planner
from pacsops.gateway.retention import Retention
from pacsops.gateway.spool import file_name, instance_path
from pacsops.routes import Source, load_routes

EXPLICIT = "1.2.840.10008.1.2.1"
DESTINATIONS = {
    "PACS": {"host": "127.0.0.1", "port": 11112, "aet": "PACS"},
    "ARCHIVE": {"host": "127.0.0.1", "port": 11113, "aet": "ARCHIVE"},
    "AI-1": {"host": "127.0.0.1", "port": 11114, "aet": "AI1"},
    "AI-2": {"host": "127.0.0.1", "port": 11115, "aet": "AI2"},
}
EVERYTHING: Any = {"modality": {"matches": "."}}


def a_gateway_route(name: str, to: str | list[str], *, send: str = "study", **keys: Any) -> dict[str, Any]:
    """One route of the gateway: everything, unless `match` says otherwise."""
    return {"name": name, "source": "gateway", "match": EVERYTHING, "action": {"send": send, "to": to}, **keys}


class SpooledGateway:
    """What the forwarder process does, step by step. `stable_age` 0: whatever was recorded is whole."""

    def __init__(self, database: Database, spool: Path, *, stable_age: float = 3600.0) -> None:
        self.database = database
        self.spool = spool
        spool.mkdir(exist_ok=True)
        self._stable_age = stable_age
        self.configuration = configuration.parse(
            yaml.safe_dump({"destinations": DESTINATIONS, "pools": {"AI": {"members": ["AI-1", "AI-2"]}}})
        )
        self.wakes = 0
        self._text = yaml.safe_dump({"routes": [a_gateway_route("all", "PACS")]})
        self.restart()

    def restart(self) -> None:
        """Another process begins: nothing of what was in memory is left."""
        if hasattr(self, "ingest"):
            self.ingest.close()
        self.planner, self.ingest = self.a_process()

    def a_process(self) -> tuple[Planner, Ingest]:
        """A process' planner and ingest, with routes and a memory of their own."""
        planner = Planner(self.spool, lambda: self.configuration)
        planner.table = load_routes(self._text).of(Source.GATEWAY)
        return planner, Ingest(self.database, self.spool, planner, stable_age=self._stable_age, planned=self._woken)

    def routes(self, *routes: Any) -> None:
        """Other routes are in force."""
        self._text = yaml.safe_dump({"routes": list(routes)})
        self.planner.table = load_routes(self._text).of(Source.GATEWAY)

    def write(
        self, study: StudyBuilder | Iterable[Dataset], *, sender: str = "SCANNER", number: int = 1
    ) -> list[str]:
        """Put every image into the spool, as receivers do; their names there."""
        datasets = study.datasets if isinstance(study, StudyBuilder) else study
        return [self.write_one(dataset, sender=sender, number=number) for dataset in datasets]

    def write_one(self, dataset: Dataset, *, sender: str = "SCANNER", number: int = 1) -> str:
        file = file_name(str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID), number)
        instance = Instance(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), EXPLICIT)
        self.write_bytes(file, file_meta(instance, sender) + _encoded(dataset))
        return file

    def write_bytes(self, file: str, content: bytes) -> None:
        path = instance_path(self.spool, file)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def take(self, study: StudyBuilder | Iterable[Dataset], **said: Any) -> list[str]:
        """Put them into the spool, and take them up in one batch."""
        names = self.write(study, **said)
        self.ingest.take(names)
        return names

    def retention(self, *, keep_days: float = 1.0) -> Retention:
        return Retention(self.database, self.spool, self.planner, keep_days=keep_days)

    def age(self, days: float) -> None:
        """Everything happened so many days earlier."""
        with self.database.transaction() as tx:
            age = f"make_interval(secs => {days * 86400})"
            tx.run(f"UPDATE routing_study SET arrived_at = arrived_at - {age}, evaluated_at = evaluated_at - {age}")
            tx.run(
                f"UPDATE routing_state SET completed_at = completed_at - {age}, verified_at = verified_at - {age},"
                f" updated_at = updated_at - {age}"
            )
            tx.run(f"UPDATE gateway_series SET last_received_at = last_received_at - {age}")

    def deliveries(self, **wanted: Any) -> list[Delivery]:
        return desk.deliveries(self.database, **wanted)

    def instances(self) -> list[Row]:
        """Every row of gateway_instance, the oldest first."""
        return self.rows("SELECT * FROM gateway_instance ORDER BY id")

    def rows(self, statement: str, **parameters: Any) -> list[Row]:
        with self.database.transaction() as tx:
            return tx.all(statement, **parameters)

    def promised(self) -> dict[tuple[str, str], set[str]]:
        """By route and destination, the files that are promised."""
        rows = self.rows(
            "SELECT route_name, destination, array_agg(i.file) AS files FROM routing_state s"
            " JOIN gateway_instance i ON i.id::text = ANY (s.instances) GROUP BY route_name, destination"
        )
        return {(row["route_name"], row["destination"]): set(row["files"]) for row in rows}

    def events(self, study_uid: str) -> list[Event]:
        return [event.event for event in desk.timeline(self.database, study_uid)]

    def trouble(self, study_uid: str) -> str | None:
        (row,) = self.rows("SELECT trouble FROM routing_study WHERE study_id = %(study)s", study=study_uid)
        return None if row["trouble"] is None else str(row["trouble"])

    def files(self) -> set[str]:
        """What is in the spool."""
        return {f"{path.parent.name}/{path.name}" for path in self.spool.glob("*/*.dcm")}

    def _woken(self) -> None:
        self.wakes += 1


def deliver_all(database: Database) -> None:
    """Every open delivery of the gateway arrives."""
    while found := claims.claim(database, "test:1:forwarder", source="gateway"):
        for claim in found:
            assert outcomes.finish(database, claim, duration_ms=1)


def age_file(path: Path, seconds: float) -> None:
    """The file was written so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def _encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()
