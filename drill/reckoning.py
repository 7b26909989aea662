"""What became of everything that was accepted, held against the ledger, the spool, the peers and PostgreSQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drill.ledger import Entry, Lines, digest
from drill.site import PEERS, Site, wanted
from pacsops.database import Database
from pacsops.delivery.model import WAITING, Status
from pacsops.dimse import StoredInstance
from pacsops.gateway.spool import files, instance_path

Content = tuple[str, str]
"""SOP instance UID, and the digest of a data set."""


@dataclass
class Reckoning:
    """The state of things at one moment."""

    accepted: int
    lost: list[str] = field(default_factory=list)
    """What is missing where, a sentence each."""
    false_successes: list[str] = field(default_factory=list)
    """Deliveries that say success of an image which the destination does not have."""
    stuck: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Images that did not arrive and whose delivery says so, by destination and reason."""
    open: int = 0
    """Deliveries that go on by themselves."""
    unrecorded: int = 0
    """Files in the spool that PostgreSQL does not know of."""

    @property
    def settled(self) -> bool:
        """Nothing is under way any more."""
        return not (self.open or self.unrecorded)


class Books:
    """Reads the ledger, the peers' journals and the spool, each file once."""

    def __init__(self, site: Site) -> None:
        self._spool = site.spool
        self._database = site.database
        self._ledger = Lines(site.folder / "ledger")
        self._journals = {name: Lines(site.folder / f"{name}.journal") for name in PEERS}
        self._contents: dict[str, Content] = {}
        """By file of the spool."""

    def entries(self) -> list[Entry]:
        return [Entry(*line) for line in self._ledger.look().all]

    def delivered(self) -> int:
        """Images that peers took, repeats included."""
        return sum(len(journal.look().all) for journal in self._journals.values())

    def reckon(self) -> Reckoning:
        """
        Raises:
            DatabaseUnreachable: not now.
        """
        self._read_spool()
        entries = self.entries()
        arrived = {name: set(journal.look().all) for name, journal in self._journals.items()}
        rows, deliveries = _rows(self._database)
        file_of = {row["id"]: row["file"] for row in rows}
        number_of = {self._contents[row["file"]]: row["id"] for row in rows if row["file"] in self._contents}
        found = Reckoning(len(entries))
        found.open = sum(1 for each in deliveries if each["status"] in WAITING)
        found.unrecorded = len(self._contents.keys() - set(file_of.values()))
        by_image = defaultdict(list)
        for each in deliveries:
            for number in each["instances"]:
                by_image[number, each["destination"]].append(each)
        here = set(self._contents.values())
        for entry in entries:
            content = (entry.sop_instance_uid, entry.digest)
            if content not in here:
                found.lost.append(f"{_name(entry)} is not in the spool")
                continue
            for name in wanted(entry.modality):
                if content not in arrived[name]:
                    promises = by_image[number_of.get(content), name]
                    self._not_there(found, entry, name, promises)
        for (number, name), promises in by_image.items():
            if name in arrived and any(each["status"] == Status.SUCCESS for each in promises):
                content_of = self._contents.get(file_of.get(number, ""))
                if content_of not in arrived[name]:
                    ids = ", ".join(str(each["id"]) for each in promises)
                    found.false_successes.append(f"delivery {ids} to {name}: it does not have image {number}")
        return found

    def _not_there(self, found: Reckoning, entry: Entry, name: str, promises: list[dict[str, Any]]) -> None:
        stuck = [each for each in promises if each["status"] == Status.STUCK and each["error"]]
        if stuck:
            found.stuck[name, stuck[0]["error"]] += 1
        else:
            said = ", ".join(f"delivery {each['id']} is {each['status']}" for each in promises)
            found.lost.append(f"{_name(entry)} is not at {name}: {said or 'nothing was promised'}")

    def _read_spool(self) -> None:
        for spooled in files(self._spool):
            if spooled.file not in self._contents:
                self._contents[spooled.file] = _content(instance_path(self._spool, spooled.file))


def _name(entry: Entry) -> str:
    return f"image {entry.sop_instance_uid} ({entry.modality}, {entry.kind}) of study {entry.study_uid}"


def _content(path: Path) -> Content:
    with StoredInstance(path) as stored:
        return stored.instance.sop_instance_uid, digest(memoryview(path.read_bytes())[stored.offset :])


def _rows(database: Database) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with database.transaction() as tx:
        instances = tx.all("SELECT id::text, file FROM gateway_instance WHERE removed_at IS NULL")
        deliveries = tx.all(
            "SELECT id, destination, status, instances, last_error AS error FROM routing_state"
            " WHERE source = 'gateway'"
        )
    return instances, deliveries


def kinds(entries: Iterable[Entry]) -> Counter[str]:
    """How many entries of each kind."""
    return Counter(entry.kind for entry in entries)
