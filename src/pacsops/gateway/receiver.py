"""C-STORE into the spool: an instance is answered with success when, and only when, it is durable.

What came is written as it comes, by the event loop; what waits for the disk waits in threads. PostgreSQL is not
needed. Source: PS3.4 B.2.3 (statuses), PS3.7 9.3.1
"""

from __future__ import annotations

import asyncio
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pydicom.tag import Tag

from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import Header, read_header
from pacsops.dimse import Answer, Refused, StoreRequest, file_meta
from pacsops.dimse.status import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, OUT_OF_RESOURCES
from pacsops.gateway.durable import Keeper, TooManyVersions
from pacsops.gateway.faults import Faults
from pacsops.gateway.part import Part
from pacsops.gateway.spool import is_uid
from pacsops.gateway.tally import Tally
from pacsops.gateway.telling import Teller

THREADS: Final = 8
"""That wait for the disk."""
_HEAD: Final = 32 << 10
"""Bytes of a data set in which the UIDs are looked for before its file is read again."""
_BETWEEN_LOOKS: Final = 16 << 20
"""Bytes that are written before the free room is looked at again."""
_STUDY, _SERIES, _INSTANCE = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
_WANTED: Final = frozenset(int(Tag(keyword)) for keyword in (_STUDY, _SERIES, _INSTANCE))


class Receiver:
    """Keeps what is sent here. To be closed.

    Args:
        reserve: bytes of the spool's disk that stay free.

    Raises:
        OSError: the spool cannot be opened.
    """

    def __init__(self, spool: Path, reserve: int, faults: Faults, tally: Tally) -> None:
        self._spool = spool
        self._reserve = reserve
        self._faults = faults
        self._tally = tally
        self._keeper = Keeper(spool)
        self._threads = ThreadPoolExecutor(THREADS, "keep")
        self._teller = Teller(spool)

    def close(self) -> None:
        """Wait for the disk, and end."""
        self._threads.shutdown()
        self._teller.close()

    async def store(self, request: StoreRequest) -> Answer:
        """The handler of C-STORE."""
        aet = request.caller.aet
        try:
            return await self._received(request)
        except Refused as refused:
            self._tally.refused(aet, refused.answer)
            return refused.answer
        except OSError as error:
            answer = Answer(OUT_OF_RESOURCES, f"cannot be kept: {error.strerror or type(error).__name__}"[:64])
            self._tally.refused(aet, answer)
            return answer

    async def _received(self, request: StoreRequest) -> Answer:
        if self._faults.fails():
            raise Refused(Answer(OUT_OF_RESOURCES, "a fault that was injected"))
        self._look_for_room()
        await self._faults.before_write()
        part = Part(self._spool, file_meta(request.instance, request.caller.aet))
        try:
            head = await self._written(request, part)
            header = _header(head, part, request.instance.transfer_syntax_uid)
            study_uid = _study_of(header, request.instance.sop_instance_uid)
        except BaseException:
            part.close()
            raise
        # From here on the part is the thread's, whatever becomes of the association, unless none takes it any more.
        keeping = self._threads.submit(self._keeper.keep, part, study_uid, request.instance.sop_instance_uid)
        keeping.add_done_callback(lambda done: part.close() if done.cancelled() else None)
        try:
            kept = await asyncio.wrap_future(keeping)
        except TooManyVersions:
            raise Refused(Answer(CANNOT_UNDERSTAND, "too many different instances of this SOPInstanceUID")) from None
        self._tally.kept(request.caller.aet, kept, part.size)
        asyncio.get_running_loop().call_soon(self._teller.tell, kept.file)  # behind the answer
        return Answer()

    async def _written(self, request: StoreRequest, part: Part) -> bytearray:
        """Write what comes; the first bytes of the data set."""
        head = bytearray()
        looked_at = 0
        async for views in request:
            for view in views:
                if len(head) >= _HEAD:
                    break
                head += view
            part.write(views)
            if part.size - looked_at >= _BETWEEN_LOOKS:
                looked_at = part.size
                self._look_for_room()
        return head

    def _look_for_room(self) -> None:
        room = os.statvfs(self._spool)
        if room.f_bavail * room.f_frsize < self._reserve:
            raise Refused(Answer(OUT_OF_RESOURCES, "the disk is full up to its reserve"))


def _header(head: bytearray, part: Part, transfer_syntax_uid: str) -> Header:
    """The UIDs of a data set of which `head` are the first bytes."""
    try:
        header = read_header(bytes(head), transfer_syntax_uid, _WANTED)
        if header.cut_short and part.size - part.meta_size > len(head):
            header = _header_of_file(part, transfer_syntax_uid)
    except UnreadableDataSet as error:
        raise Refused(Answer(CANNOT_UNDERSTAND, str(error)[:64])) from None
    return header


def _header_of_file(part: Part, transfer_syntax_uid: str) -> Header:
    with (
        mmap.mmap(part.descriptor, 0, prot=mmap.PROT_READ) as content,
        memoryview(content)[part.meta_size :] as data_set,
    ):
        return read_header(data_set, transfer_syntax_uid, _WANTED)


def _study_of(header: Header, sop_instance_uid: str) -> str:
    """The study an instance belongs to.

    Raises:
        Refused: it does not say so, or it is another instance than was announced.
    """
    for keyword in (_STUDY, _SERIES, _INSTANCE):
        if keyword not in header:
            raise Refused(Answer(CANNOT_UNDERSTAND, f"the data set has no {keyword}"))
        if not is_uid(header[keyword]):
            raise Refused(Answer(CANNOT_UNDERSTAND, f"its {keyword} is no UID"))
    if header[_INSTANCE] != sop_instance_uid:
        raise Refused(Answer(DATA_SET_MISMATCH, "its SOPInstanceUID is another one than announced"))
    return header[_STUDY]
