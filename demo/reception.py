"""A neighbour's receiving side: answers C-ECHO, stores what C-STORE brings."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from network import NETWORK_TIMEOUT, Neighbour, say
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    VerificationPresentationContexts,
    evt,
)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class Reception:
    """A storage SCP (PS3.4 B) that answers Success only when the file is on disk, bytes as they came."""

    def __init__(self, neighbour: Neighbour, on_stored: Callable[[Path], None] = lambda path: None) -> None:
        self._neighbour = neighbour
        self._on_stored = on_stored
        self._entity = AE(ae_title=neighbour.aet)
        self._entity.require_called_aet = True
        self._entity.acse_timeout = self._entity.dimse_timeout = NETWORK_TIMEOUT
        for context in VerificationPresentationContexts + AllStoragePresentationContexts:
            self._entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)

    def start(self) -> None:
        """Listen.

        Raises:
            SystemExit: the port is taken.
        """
        for torn in self._neighbour.data.glob("*/.*.part"):
            torn.unlink()
        address = (self._neighbour.listen, self._neighbour.port)
        try:
            self._entity.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        except OSError as error:
            raise SystemExit(
                f"{self._neighbour.name} cannot listen on port {address[1]}: {error.strerror}"
            ) from error
        say(self._neighbour, f"listens on {address[0]}:{address[1]} as {self._neighbour.aet}")

    def stop(self) -> None:
        """Stop listening and abort open associations: their senders have no answer and try again."""
        self._entity.shutdown()

    def _store(self, event: evt.Event) -> int:
        sender = event.assoc.requestor.ae_title
        encoded = event.encoded_dataset()
        try:
            header = dcmread(BytesIO(encoded), stop_before_pixels=True)
            study_uid, sop_uid = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        except (InvalidDicomError, AttributeError, ValueError) as error:
            say(self._neighbour, f"refused an image from {sender}: {error}")
            return CANNOT_UNDERSTAND
        # The sender chose these and they become a path.
        if not (_UID.fullmatch(study_uid) and _UID.fullmatch(sop_uid)):
            say(self._neighbour, f"refused an image from {sender}: its UIDs are none")
            return CANNOT_UNDERSTAND
        path = self._neighbour.data / study_uid / f"{sop_uid}.dcm"
        try:
            write_durably(path, encoded)
        except OSError as error:
            say(self._neighbour, f"could not store {sop_uid}: {error.strerror}")
            return OUT_OF_RESOURCES
        modality = header.get("Modality", "image")
        say(self._neighbour, f"stored {modality} {sop_uid} of study {study_uid} from {sender}")
        self._on_stored(path)
        return SUCCESS


def write_durably(path: Path, content: bytes) -> None:
    """Write, fsync, rename, fsync the folder: after this returns, a power cut does not lose the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
