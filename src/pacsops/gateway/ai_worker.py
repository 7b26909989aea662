"""A simulated AI worker: takes studies, waits, and gives a made-up result of each back to the gateway.

It keeps nothing. A result follows from the worker and the images it is about alone: a study that is sent twice has
one result, one that grew another.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.uid import AllTransferSyntaxes

from pacsops import __version__
from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import read_header
from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import (
    Answer,
    DimseError,
    Handlers,
    OperationFailed,
    Peer,
    Policy,
    StoredInstance,
    StoreRequest,
    associate,
    contexts_to_store,
    serve,
)
from pacsops.dimse.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES
from pacsops.errors import SettingsError
from pacsops.observe.logs import EventLog, write_to

RESULT: Final = "AI_RESULT"
"""The SeriesDescription of every result."""
QUIET_SECONDS: Final = 1.0
"""Without a new image, after which a study is whole."""
_LOG = EventLog("worker")
_HEAD: Final = 1 << 20
"""Bytes of a data set looked at for the patient and the study."""
_MOST_STUDIES: Final = 10_000
_MOST_IMAGES: Final = 100_000
"""In hand; more are refused until some are done."""
_WAITS: Final = (1, 2, 4, 8, 16, 32, 60, 60, 60, 60)
"""Seconds between attempts to give a result back."""
_TAKEN_OVER: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_LOOKED_AT: Final = frozenset(
    tag for keyword in (*_TAKEN_OVER, "SeriesDescription") if (tag := tag_for_keyword(keyword)) is not None
)
_SYNTAXES: Final = frozenset(map(str, AllTransferSyntaxes))


@dataclass(slots=True)
class _Case:
    """A study in hand."""

    patient: Dataset
    images: dict[str, str] = field(default_factory=dict)
    """SOP class by SOP instance UID."""
    touched_at: float = 0.0


class Worker:
    """Takes images as a handler of C-STORE, and gives results back.

    Args:
        delay: seconds of thinking, from a study's last image on.
    """

    def __init__(self, aet: str, gateway: Peer, *, delay: float = 0.0) -> None:
        self._aet = aet
        self._gateway = gateway
        self._delay = delay
        self._cases: dict[str, _Case] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def store(self, request: StoreRequest) -> Answer:
        """Note whose image it is, and forget it. Its own kind of results is taken and left alone."""
        head = bytearray()
        async for views in request:
            for view in views:
                head += view[: max(0, _HEAD - len(head))]
        instance = request.instance
        try:
            header = read_header(bytes(head), instance.transfer_syntax_uid, _LOOKED_AT)
        except UnreadableDataSet as error:
            return Answer(CANNOT_UNDERSTAND, str(error)[:64])
        study_uid = header.get("StudyInstanceUID", "")
        if not study_uid:
            return Answer(CANNOT_UNDERSTAND, "no StudyInstanceUID")
        if header.get("SeriesDescription") == RESULT:
            return Answer()
        case = self._cases.get(study_uid)
        if case is None:
            if len(self._cases) >= _MOST_STUDIES:
                return Answer(OUT_OF_RESOURCES, "too many studies in hand")
            case = self._cases[study_uid] = _Case(_patient(header))
            self._start(study_uid)
        if len(case.images) >= _MOST_IMAGES:
            return Answer(OUT_OF_RESOURCES, "too many images in hand")
        case.images[instance.sop_instance_uid] = instance.sop_class_uid
        case.touched_at = time.monotonic()
        return Answer()

    def close(self) -> None:
        """Forget what is in hand."""
        for task in self._tasks:
            task.cancel()

    def _start(self, study_uid: str) -> None:
        task = asyncio.create_task(self._work(study_uid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, study_uid: str) -> None:
        case = self._cases[study_uid]
        case.touched_at = time.monotonic()
        while (left := case.touched_at + QUIET_SECONDS + self._delay - time.monotonic()) > 0:
            await asyncio.sleep(left)
        del self._cases[study_uid]
        _LOG.info("study_taken", instances=len(case.images))
        content = await asyncio.to_thread(result, self._aet, case.patient, sorted(case.images.items()))
        await self._give_back(content)

    async def _give_back(self, content: bytes) -> None:
        for wait in (*_WAITS, None):
            try:
                with StoredInstance(content) as stored:
                    contexts = contexts_to_store([stored.instance])
                    async with associate(self._gateway, self._aet, contexts) as association:
                        await association.store(stored)
            except DimseError as error:
                final = isinstance(error, OperationFailed) and error.kind == "peer-status"
                if wait is None or final:
                    _LOG.error("result_lost", error=str(error))
                    return
                _LOG.warning("result_not_taken", error=str(error), wait_seconds=wait)
                await asyncio.sleep(wait)
            else:
                _LOG.info("result_sent")
                return


def result(aet: str, patient: Dataset, images: Sequence[tuple[str, str]]) -> bytes:
    """A Secondary Capture of the same study, as a DICOM file: its own series, with references to all it is about.

    Args:
        images: (SOP instance UID, SOP class UID), sorted.
    """
    with disable_value_validation():  # a patient's values are as they came
        uids = " ".join(uid for uid, _ in images)
        study = Study.continuing(patient, seed=f"{aet} {patient.StudyInstanceUID} {uids}")
        sources = []
        for uid, sop_class in images:
            source = Dataset()
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = sop_class, uid
            sources.append(source)
        series = study.add_series(
            "SC",
            sizes=[(64, 64)],
            description=RESULT,
            manufacturer="PACSOPS SIMULATED WORKER",
            attributes={"SourceImageSequence": sources, "StationName": aet, "SeriesNumber": 9001},
        )
        return part10(series.datasets[0])


def run(aet: str, listen: str, port: int, gateway: Peer, *, delay: float) -> None:
    """Run a worker in the foreground until SIGTERM or SIGINT.

    Raises:
        SettingsError: the port is taken, or the address is not ours.
    """
    write_to()
    asyncio.run(_run(Worker(aet, gateway, delay=delay), aet, listen, port))


async def _run(worker: Worker, aet: str, listen: str, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    policy = Policy(transfer_syntaxes=lambda _: _SYNTAXES, called_aets=[aet])
    try:
        async with serve(listen, port, Handlers(store=worker.store), policy):
            _LOG.info("worker_started", version=__version__, worker=aet)
            await stopping.wait()
            worker.close()
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {listen}:{port}: {error.strerror}",
            hint="WORKER_LISTEN and WORKER_PORT name the address and the port",
        ) from error
    _LOG.info("worker_stopped", worker=aet)


def _patient(header: dict[str, str]) -> Dataset:
    """Whose study it is. What the images do not say is empty: a result must not make up a patient."""
    patient = Dataset()
    with disable_value_validation():
        patient.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _TAKEN_OVER:
            setattr(patient, keyword, header.get(keyword, ""))
    return patient
