"""Real DICOM peers that behave, or misbehave in one way each."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)
from tests.support.network import eventually, free_port

from pacsops.orthanc import Modality

StoreStatus = int | Callable[[evt.Event], int]
"""A DIMSE status (PS3.7 annex C), or a function of pynetdicom's event that gives one (and may wait first)."""


FindAnswers = Callable[[evt.Event], Iterable[tuple[int, Dataset | None]]]
"""Responses to a C-FIND: statuses, with the identifier of a match where there is one."""


@dataclass(frozen=True, slots=True)
class Received:
    """One instance a peer was given, whatever it answered."""

    sop_class_uid: str
    sop_instance_uid: str
    calling_aet: str
    transfer_syntax: str
    sha256: str
    """Of the data set as it came over the network, without file meta information."""
    dataset: Dataset


class Held:
    """A `status` that is given when the test says so: the transfer is under way meanwhile."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._given = threading.Event()

    def __call__(self, event: evt.Event) -> int:
        self.begun.set()
        self._given.wait(10)
        return 0x0000

    def give(self) -> None:
        self._given.set()


class Peer:
    """A storage and verification SCP on a free port of 127.0.0.1.

    Args:
        aet: its AE title.
        status: what it answers to C-STORE; may be changed at any time.
        sop_classes: the only storage SOP classes it accepts; None accepts all.
        rejects: rejects every association, as not knowing the AE title it is called by.
        hangs: accepts instances and never answers.
        drops: closes the connection when an instance has arrived, instead of answering.
        find: what it answers to C-FIND; None: it does not offer it.
    """

    def __init__(
        self,
        aet: str = "PEER",
        *,
        status: StoreStatus = 0x0000,
        sop_classes: Collection[str] | None = None,
        rejects: bool = False,
        hangs: bool = False,
        drops: bool = False,
        find: FindAnswers | None = None,
    ) -> None:
        self.aet = aet
        self.port = free_port()
        self.status = status
        self.rejects = rejects
        self.hangs = hangs
        self.drops = drops
        self.find = find
        self.received: list[Received] = []
        """Every instance that arrived, in order, also those answered with a failure."""
        self.questions: list[Dataset] = []
        """Identifiers of the C-FINDs it was asked."""
        self.echoes = 0
        self.associations = 0
        """Connections opened to it so far."""
        self.most_at_once = 0
        """Connections open at the same time, at most."""
        self._open = 0
        self._sop_classes = sop_classes
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: Any = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def uids(self) -> list[str]:
        """SOP instance UIDs as they arrived, repeats included."""
        return [received.sop_instance_uid for received in self.received]

    def modality(self, name: str | None = None) -> Modality:
        """How Orthanc should know it; by its AE title unless named."""
        return _modality(self, name)

    def wait_for(self, count: int, *, within: float = 40) -> list[Received]:
        """Until `count` instances have arrived."""
        eventually(lambda: len(self.received) >= count, within=within, what=f"{self.aet} receiving {count} instances")
        return self.received

    def start(self) -> None:
        """Open its port; the same one each time."""
        self._stopping.clear()
        ae = AE(ae_title="SOMEONE_ELSE" if self.rejects else self.aet)
        ae.require_called_aet = self.rejects
        ae.maximum_associations = 100
        ae.add_supported_context(Verification)
        if self.find is not None:
            ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        for context in AllStoragePresentationContexts:
            if self._sop_classes is None or context.abstract_syntax in self._sop_classes:
                ae.add_supported_context(str(context.abstract_syntax), AllTransferSyntaxes)
        self._server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._on_open),
                (evt.EVT_CONN_CLOSE, self._on_close),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_C_FIND, self._on_find),
            ],
        )

    def stop(self) -> None:
        """Close its port and every association."""
        if self._server is not None:
            self._stopping.set()
            # An association it has just rejected is not one to abort: pynetdicom's thread would die of it.
            if self.rejects:
                eventually(lambda: not self._server.ae.active_associations, within=30, what="its rejections")
            self._server.ae.shutdown()
            self._server = None

    def _on_open(self, event: evt.Event) -> None:
        _socket(event).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self.associations += 1
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)

    def _on_close(self, event: evt.Event) -> None:
        with self._lock:
            self._open -= 1

    def _on_echo(self, event: evt.Event) -> int:
        with self._lock:
            self.echoes += 1
        return 0x0000

    def _on_find(self, event: evt.Event) -> Iterable[tuple[int, Dataset | None]]:
        assert self.find is not None
        with self._lock:
            self.questions.append(event.identifier)
        yield from self.find(event)

    def _on_store(self, event: evt.Event) -> int:
        request: Any = event.request
        encoded = request.DataSet.getvalue()
        received = Received(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            calling_aet=event.assoc.requestor.ae_title,
            transfer_syntax=str(UID(event.context.transfer_syntax)),
            sha256=hashlib.sha256(encoded).hexdigest(),
            dataset=event.dataset,
        )
        with self._lock:
            self.received.append(received)
        if self.hangs:
            self._stopping.wait()
        if self.drops:
            _socket(event).shutdown(socket.SHUT_RDWR)
        return self.status(event) if callable(self.status) else self.status


def _socket(event: evt.Event) -> socket.socket:
    association: Any = event.assoc
    connection: socket.socket = association.dul.socket.socket
    return connection


class BlackHole:
    """A port where the kernel accepts TCP connections and nobody ever says a word."""

    def __init__(self, aet: str = "BLACKHOLE") -> None:
        self.aet = aet
        self.port = free_port()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=100)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def modality(self, name: str | None = None) -> Modality:
        """How Orthanc should know it."""
        return _modality(self, name)


def _modality(peer: Peer | BlackHole, name: str | None) -> Modality:
    return Modality(name=name or peer.aet, aet=peer.aet, host="127.0.0.1", port=peer.port)
