"""C-STORE from a file to the socket: read straight into PDUs whose headers are there already.

A batch of PDUs lies in one buffer; the disk fills the gaps between their headers in one call, and the socket takes
the batch in another. Not a byte is copied in between, and memory is a batch, whatever the size of the file.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from typing import Final

from pacsops.dimse.commands import Command
from pacsops.dimse.errors import UnreadableFile
from pacsops.dimse.p_data import LAST, PDV, fragment
from pacsops.dimse.part10 import StoredInstance
from pacsops.dimse.pdu import HEADER, PduType
from pacsops.dimse.upper_layer import UpperLayer

LARGEST_PDU: Final = 128 << 10
"""Bytes of a PDU's variable field sent at most, also where the peer sets no limit or a higher one."""
_BATCH: Final = 512 << 10
_MOST_GAPS: Final = 1024
"""IOV_MAX of Linux."""
_COMMAND_ROOM: Final = 1 << 10
_HEADERS: Final = HEADER.size + PDV.size


class DataSetSender:
    """Sends C-STORE requests with their data sets on one association, one at a time.

    Args:
        maximum_length: bytes of a PDU's variable field the peer takes; 0 is no limit.
    """

    def __init__(self, upper_layer: UpperLayer, maximum_length: int) -> None:
        self._upper_layer = upper_layer
        self._maximum = min(maximum_length or LARGEST_PDU, LARGEST_PDU)
        self._room = self._maximum - PDV.size
        step = self._room + _HEADERS
        count = min(max(1, _BATCH // step), _MOST_GAPS)
        self._buffer = memoryview(bytearray(_COMMAND_ROOM + count * step))
        """Room for a command, which ends where the first PDU begins; then the PDUs."""
        starts = [_COMMAND_ROOM + number * step for number in range(count + 1)]
        self._starts = starts[:-1]
        self._gaps = [self._buffer[start + _HEADERS : end] for start, end in pairwise(starts)]
        self._context = -1

    async def send(self, context: int, command: Command, stored: StoredInstance, seconds: float) -> None:
        """Send the request and the whole data set.

        Args:
            seconds: the longest the peer may take nothing.

        Raises:
            UnreadableFile: the file gave less than it promised. The message cannot be finished: abort.
            DimseError: as `UpperLayer.send` and `Connection.flush`.
        """
        if context != self._context:
            self._write_headers(context)
        request = fragment(context, True, command.encode(), self._maximum)
        begin = _COMMAND_ROOM - len(request)
        if begin < 0:
            self._upper_layer.send(request)
            begin = _COMMAND_ROOM
        else:
            self._buffer[begin:_COMMAND_ROOM] = request
        offset, left = stored.offset, stored.length
        while True:
            size = min(left, self._room * len(self._gaps))
            await self._read(stored, offset, size)
            offset, left = offset + size, left - size
            await self._write(begin, size, seconds, last=not left)
            if not left:
                return
            begin = _COMMAND_ROOM

    async def _read(self, stored: StoredInstance, offset: int, size: int) -> None:
        """`size` bytes into the gaps. What is in memory comes at once; for the disk, a thread waits."""
        views = self._views(0, size)
        done = 0
        with contextlib.suppress(BlockingIOError):
            done = stored.read_into(views, offset, wait=False)
        while done < size:
            read = await asyncio.to_thread(stored.read_into, self._views(done, size), offset + done)
            if not read:
                raise UnreadableFile("the file became shorter while it was sent")
            done += read

    def _views(self, begin: int, end: int) -> list[memoryview]:
        """The gaps from byte `begin` to `end` of the batch's data."""
        first, skipped = divmod(begin, self._room)
        last, kept = divmod(end, self._room)
        views = self._gaps[first:last]
        if kept:
            views.append(self._gaps[last][:kept])
        if skipped:
            views[0] = views[0][skipped:]
        return views

    async def _write(self, begin: int, size: int, seconds: float, *, last: bool) -> None:
        full, rest = divmod(size, self._room)
        if last and (rest or not full):
            number, length = full, rest
        else:
            number, length = full - 1, self._room
        start = self._starts[number]
        if last:
            self._write_header(start, length, LAST)
        self._upper_layer.send(self._buffer[begin : start + _HEADERS + length])
        await self._upper_layer.connection.flush(seconds)
        if last:
            self._write_header(start, self._room, 0)

    def _write_headers(self, context: int) -> None:
        self._context = context
        for start in self._starts:
            self._write_header(start, self._room, 0)

    def _write_header(self, start: int, length: int, control: int) -> None:
        HEADER.pack_into(self._buffer, start, PduType.P_DATA_TF, length + PDV.size)
        PDV.pack_into(self._buffer, start + HEADER.size, length + 2, self._context, control)
