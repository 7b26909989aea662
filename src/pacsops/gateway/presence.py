"""What the gateway sent, and which of it a destination has: asked by C-FIND, on an association of its own.

Source: PS3.4 C.4.1 (C-FIND), C.6.2 (Study Root), PS3.5 7.1 and 6.2 (how an identifier is encoded)
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Final, Self

from pacsops.database import Database
from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import read_header
from pacsops.dimse import (
    Association,
    Context,
    ContextNotAccepted,
    DimseError,
    OperationFailed,
    Terms,
    Timeouts,
    request_association,
)
from pacsops.dimse.items import LONGEST_UID
from pacsops.dimse.negotiation import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from pacsops.dimse.presence import OFFER, Identified
from pacsops.errors import DestinationMute, UnknownDestination
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Outlet

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
TIMEOUTS = Timeouts(connect=10, associate=30, response=30)
LONGEST_SECONDS = 120.0
"""For a question and all of its answer."""
MOST_MATCHES: Final = 100_000
"""Of one question that are read: what is not among them is asked for by name."""
_SOP_INSTANCE_UID: Final = 0x00080018


def identified(database: Database, ids: Collection[str]) -> tuple[list[Identified], bool]:
    """The images of these numbers whose files are in the spool, as they came in; whether others are gone.

    Not gone are those removed after they were delivered for good, when more of the study came later.
    """
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT id, study_uid, series_uid, sop_instance_uid, removed_at IS NOT NULL AS removed
              FROM gateway_instance
             WHERE id = ANY (%(ids)s) AND (removed_at IS NOT NULL OR missing_since IS NULL) ORDER BY id
            """,
            ids=[int(one) for one in ids],
        )
    held = [
        Identified(str(row["id"]), row["study_uid"], row["series_uid"], row["sop_instance_uid"])
        for row in rows
        if not row["removed"]
    ]
    return held, not held or len(rows) < len(ids)


class Index:
    """One destination's, asked question by question, on one association while it lasts. Only one loop calls it."""

    def __init__(self, destination: str, outlet: Outlet, ledger: Ledger) -> None:
        self._destination = destination
        self._outlet = outlet
        self._ledger = ledger
        self._association: Association | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        association, self._association = self._association, None
        if association is not None:
            await (association.release() if error is None else association.abort())

    async def find(self, study_uid: str, series_uid: str, sop_uids: Sequence[str]) -> set[str]:
        """A `dimse.presence.Find`."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self._ask(study_uid, series_uid, sop_uids)
        except TimeoutError:
            raise self._mute(f"its answer had no end within {LONGEST_SECONDS:g} s") from None
        except ContextNotAccepted as error:
            raise self._mute(f"it does not offer {OFFER}") from error
        except OperationFailed as error:
            raise self._mute(str(error), error.status) from error
        except UnreadableDataSet as error:
            raise self._mute(f"its answer cannot be read: {error}") from error
        except (DimseError, UnknownDestination) as error:
            raise self._mute(str(error)) from error

    async def _ask(self, study_uid: str, series_uid: str, sop_uids: Sequence[str]) -> set[str]:
        association = await self._open()
        _, syntax = association.agreed.context_for(STUDY_ROOT_FIND)
        question = _identifier(study_uid, series_uid, sop_uids, explicit=syntax == EXPLICIT_VR_LITTLE_ENDIAN)
        found: set[str] = set()
        matches = 0
        async with association.find(STUDY_ROOT_FIND, question) as query:
            async for match in query:
                told = read_header(match.identifier, syntax, {_SOP_INSTANCE_UID}).get("SOPInstanceUID", "")
                if 0 < len(told) <= LONGEST_UID:
                    found.add(told)
                matches += 1
                if matches == MOST_MATCHES:
                    break
        return found

    async def _open(self) -> Association:
        if self._association is not None and self._association.ended is not None:
            await self._association.release()
            self._association = None
        if self._association is None:
            target = await self._ledger.off_loop(lambda: self._outlet.target(self._destination))
            self._association = await request_association(
                target.peer,
                target.calling_aet,
                [Context(STUDY_ROOT_FIND, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))],
                Terms(timeouts=TIMEOUTS),
            )
        return self._association

    def _mute(self, why: str, status: int | None = None) -> DestinationMute:
        return DestinationMute(
            f"{self._destination} cannot be asked what it has: {why}",
            dimse_status=status,
            hint="ask its administrator to let the gateway's AE title do so, or take `verify` out of"
            " gateway_destinations in the inventory",
        )


def _identifier(study_uid: str, series_uid: str, sop_uids: Sequence[str], *, explicit: bool) -> bytes:
    """Asks for images of a series: all of them where none is named. UIDs are as the receiver let them in: digits."""
    return b"".join(
        _element(tag, representation, value.encode("ascii"), explicit=explicit)
        for tag, representation, value in (
            (_SOP_INSTANCE_UID, b"UI", "\\".join(sop_uids)),
            (0x00080052, b"CS", "IMAGE"),  # Query/Retrieve Level
            (0x0020000D, b"UI", study_uid),
            (0x0020000E, b"UI", series_uid),
        )
    )


def _element(tag: int, representation: bytes, value: bytes, *, explicit: bool) -> bytes:
    padding = b" " if representation == b"CS" else b"\0"
    value += padding * (len(value) % 2)
    group, element = tag >> 16, tag & 0xFFFF
    if explicit:
        return struct.pack("<HH2sH", group, element, representation, len(value)) + value
    return struct.pack("<HHL", group, element, len(value)) + value
