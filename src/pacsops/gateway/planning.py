"""What the routes say of a study in the spool, in the transaction of what was written down of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from pydicom.datadict import keyword_for_tag

from pacsops.database import Transaction
from pacsops.database.pool import Row
from pacsops.delivery import breaker, studies
from pacsops.delivery.model import Event
from pacsops.delivery.planner import Planned, StudyIdentity
from pacsops.delivery.studies import Evaluation
from pacsops.delivery.timeline import record_study
from pacsops.dicom.header import ROUTED_TAGS
from pacsops.dicom.synthetic import CANARY
from pacsops.gateway import records, workers
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.reading import tags_of
from pacsops.gateway.records import SOURCE, Received
from pacsops.routes import InstanceFacts, RouteTable, Selection, StudyFacts, When
from pacsops.routes.matching import AetOf

_REMEMBERED = 64
"""Studies whose facts are kept in memory: those that are being received."""
ALWAYS_READ = frozenset(keyword_for_tag(tag) for tag in ROUTED_TAGS)


@dataclass(slots=True)
class _Facts:
    """A study's instances, by id. `tags` has None where a keyword was looked for and not there."""

    newest: int = 0
    instances: list[InstanceFacts] = field(default_factory=list)
    tags: dict[str, dict[str, str | None]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            name = str(row["id"])
            self.newest = row["id"]
            self.tags[name] = dict(row["tags"])
            self.files[name] = row["file"]
            self.instances.append(_instance(name, row["series_uid"], row["sender_aet"], row["tags"]))
            if row["removed"]:
                self.removed.add(name)


class Planner:
    """Asks the routes in force. The caller holds the study's row (`records.lock`).

    Args:
        configuration: the gateway.yml in force.
        canaries: where synthetic studies may be delivered.
    """

    def __init__(
        self, spool: Path, configuration: Callable[[], Configuration], *, canaries: frozenset[str] = frozenset()
    ) -> None:
        self.table: RouteTable | None = None
        """The gateway's routes in force; None until a valid routes.yml was seen: then studies wait, unsettled."""
        self._spool = spool
        self._configuration = configuration
        self._canaries = canaries
        self._facts: OrderedDict[str, _Facts] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def keywords(self) -> frozenset[str]:
        """What routes in force look at that not every file is read for."""
        return self.table.keywords - ALWAYS_READ if self.table else frozenset()

    def forget(self, study_uid: str) -> None:
        """Something of what is kept in memory of a study is no longer so."""
        with self._lock:
            self._facts.pop(study_uid, None)

    def with_result(self, tx: Transaction, received: Received) -> Received:
        """The same, and the study it is a result for, where it is an AI's."""
        tags = {keyword: value for keyword, value in received.tags.items() if value is not None}
        original = workers.original_of(tx, self._configuration(), received.sender_aet, tags)
        return replace(received, result_of=original)

    def evaluate(
        self, tx: Transaction, study_uid: str, quiet: Collection[str] = (), *, whole: bool = False
    ) -> Evaluation | None:
        """Ask the routes that wait for nothing, and those that wait for the `quiet` series, or for the `whole` study.

        None: no routes are in force.
        """
        table = self.table
        if table is None:
            return None
        found = self._facts_of(tx, study_uid)
        self._complete(tx, found, table.keywords - ALWAYS_READ)
        facts = StudyFacts(study_uid, tuple(found.instances))
        configuration = self._configuration()
        aet_of = loop_guard(configuration)
        selected = table.select(facts, aet_of, when=When.INSTANCE)
        if quiet:
            settled = tuple(one for one in facts.instances if one.series_id in quiet)
            selected += table.select(StudyFacts(study_uid, settled), aet_of, when=When.SERIES_STABLE)
        if whole:
            selected += table.select(facts, aet_of, when=When.STUDY_STABLE)
        identity = identity_of(study_uid, facts.instances)
        if identity.accession_number == CANARY:
            # What never was a patient goes nowhere but where it was asked for.
            selected = [each for each in selected if each.destination in self._canaries]
        return Evaluation(
            study=identity,
            as_of_seq=found.newest,
            last_update="",
            instance_count=len(found.instances),
            sender_aet=next((one.sender_aet for one in facts.instances if one.sender_aet), None),
            matched_routes=table.matched(facts),
            selections=tuple(workers.assign(tx, configuration, study_uid, _without(found.removed, selected))),
            route_version=table.hash,
            whole=False,
            trouble=records.trouble(tx, study_uid),
        )

    def write(self, tx: Transaction, evaluations: Sequence[Evaluation]) -> list[Planned]:
        """Write evaluations of several studies down, and promise what they selected."""
        # In one order over all of them: two processes that meet new destinations must not wait for each other.
        for destination in sorted({chosen.destination for each in evaluations for chosen in each.selections}):
            breaker.know(tx, destination)
        return [studies.evaluated(tx, each) for each in evaluations]

    def settle(self, tx: Transaction, study_uid: str, *, age: float) -> Planned:
        """Ask the routes about what nothing has come into for `age` seconds."""
        quiet, whole = records.quiet_series(tx, study_uid, age=age)
        evaluation = self.evaluate(tx, study_uid, quiet, whole=whole)
        if evaluation is None:
            return Planned((), ())
        (planned,) = self.write(tx, [evaluation])
        records.series_evaluated(tx, study_uid, quiet)
        if whole and quiet and not evaluation.matched_routes:
            record_study(tx, Event.ROUTE_NO_MATCH, SOURCE, study_uid)
        return planned

    def _facts_of(self, tx: Transaction, study_uid: str) -> _Facts:
        """All that is known of the study's instances; read anew only where memory differs from the database."""
        with self._lock:
            found = self._facts.pop(study_uid, None) or _Facts()
        found.add(records.instances(tx, study_uid, after=found.newest))
        if len(found.instances) != records.count(tx, study_uid):
            # What is in memory was rolled back, or somebody deleted rows.
            found = _Facts()
            found.add(records.instances(tx, study_uid))
        with self._lock:
            self._facts[study_uid] = found
            while len(self._facts) > _REMEMBERED:
                self._facts.popitem(last=False)
        return found

    def _complete(self, tx: Transaction, found: _Facts, keywords: frozenset[str]) -> None:
        """Routes look at something that was not read when the files came."""
        if not keywords:
            return
        for number, one in enumerate(found.instances):
            name = one.instance_id
            lacking = keywords - found.tags[name].keys()
            if lacking and name not in found.removed:
                more = tags_of(self._spool, found.files[name], lacking)
                records.add_tags(tx, int(name), more)
                found.tags[name] |= more
                found.instances[number] = _instance(name, one.series_id, one.sender_aet, found.tags[name])


def loop_guard(configuration: Configuration) -> AetOf:
    """The AE title of each destination; of a pool, those of all its members."""
    titles = {name: each.aet for name, each in configuration.destinations.items()}
    pools = {name: frozenset(titles[member] for member in pool.members) for name, pool in configuration.pools.items()}
    return {**titles, **pools}


def facts_of(tx: Transaction, study_uid: str, spool: Path, keywords: frozenset[str]) -> StudyFacts:
    """What is known of a study, for `orthanc routes explain`; the spool, where it is here, tells more `keywords`.

    Changes nothing.
    """
    rows = records.instances(tx, study_uid)
    for row in rows:
        lacking = keywords - ALWAYS_READ - row["tags"].keys()
        if lacking and not row["removed"]:
            row["tags"] |= tags_of(spool, row["file"], lacking)
    found = _Facts()
    found.add(rows)
    return StudyFacts(study_uid, tuple(found.instances))


def identity_of(study_uid: str, instances: Sequence[InstanceFacts] = ()) -> StudyIdentity:
    """Who a study is, as its first image says."""
    tags = instances[0].tags if instances else {}
    return StudyIdentity(
        source=SOURCE,
        study_id=study_uid,
        study_uid=study_uid,
        accession_number=tags.get("AccessionNumber"),
        patient_name=tags.get("PatientName"),
        patient_id=tags.get("PatientID"),
        study_description=tags.get("StudyDescription"),
        study_date=_date(tags.get("StudyDate")),
    )


def _instance(name: str, series_uid: str, sender_aet: str | None, tags: Mapping[str, str | None]) -> InstanceFacts:
    return InstanceFacts(
        name, series_uid, sender_aet, {keyword: value for keyword, value in tags.items() if value is not None}
    )


def _without(removed: Collection[str], selections: Iterable[Selection]) -> list[Selection]:
    """What was removed after it had been delivered is not there to be sent once more."""
    if not removed:
        return list(selections)
    remaining = (
        replace(chosen, instances=tuple(name for name in chosen.instances if name not in removed))
        for chosen in selections
    )
    return [chosen for chosen in remaining if chosen.instances]


def _date(value: str | None) -> date | None:
    """A DICOM DA (PS3.5 6.2)."""
    try:
        return datetime.strptime(value, "%Y%m%d").date() if value else None
    except ValueError:
        return None
