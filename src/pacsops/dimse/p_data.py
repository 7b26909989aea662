"""P-DATA-TF: presentation data values out of PDUs and into them.

What comes is passed on as it arrives, in views of the connection's buffer: neither a PDU nor a message is ever held
whole, so memory does not depend on what a peer sends.

Source: PS3.8 9.3.5 and annex E (message control header)
"""

from __future__ import annotations

import struct
from typing import Final, NoReturn

from pacsops.dimse.machine import State
from pacsops.dimse.pdu import HEADER, ControlPdu, PduType
from pacsops.dimse.upper_layer import UNEXPECTED_PDU, UpperLayer

PDV: Final = struct.Struct(">IBB")
"""Length of what follows, presentation context id, message control header."""
COMMAND: Final = 1
LAST: Final = 2
_P_DATA: Final = int(PduType.P_DATA_TF)


class DataReader:
    """Reads the presentation data values of one association."""

    def __init__(self, upper_layer: UpperLayer) -> None:
        self._upper_layer = upper_layer
        self._in_pdv = False
        self._pdv_left = 0
        self._pdv_context = 0
        self._pdv_control = 0

    async def next_pdv(self, seconds: float | None = None) -> tuple[int, bool] | ControlPdu:
        """Context and kind (True: command) of the next presentation data value, or the control PDU that came instead.

        Raises:
            As `receive`.
        """
        while not self._in_pdv:
            if self._upper_layer.pdu_left:
                await self._upper_layer.fill(PDV.size, seconds)
                self._open_pdv()
            elif (received := await self._upper_layer.receive(seconds)) != "data":
                return received
        return self._pdv_context, bool(self._pdv_control & COMMAND)

    async def fragments(self, context: int, *, command: bool, seconds: float) -> tuple[list[memoryview], bool]:
        """What is at hand of the message part under way, at least something; and whether that was the last of it.

        The views hold until the next call.

        Raises:
            ProtocolViolation: something else stands in its middle.
            As `receive`; PeerSilent when nothing came for `seconds`.
        """
        while True:
            views, last = self._gather(context, command)
            if views or last:
                return views, last
            if self._in_pdv:
                await self._upper_layer.fill(1, seconds)
            elif self._upper_layer.pdu_left:
                await self._upper_layer.fill(PDV.size, seconds)
            elif (received := await self._upper_layer.receive(seconds)) != "data":
                self._upper_layer.violated(f"{type(received).__name__} in the middle of a message", UNEXPECTED_PDU)

    def violated(self, problem: str) -> NoReturn:
        """As `UpperLayer.violated`."""
        self._upper_layer.violated(problem)

    def _gather(self, context: int, command: bool) -> tuple[list[memoryview], bool]:
        """Everything the buffer has of one message part, without waiting."""
        connection = self._upper_layer.connection
        view, end = connection.view, connection.end
        views: list[memoryview] = []
        while True:
            at = connection.start
            if self._in_pdv:
                if self._pdv_context != context or bool(self._pdv_control & COMMAND) is not command:
                    self.violated("a message is interrupted by another one")
                size = min(self._pdv_left, end - at)
                if size:
                    views.append(view[at : at + size])
                    connection.start = at + size
                    self._pdv_left -= size
                if self._pdv_left:
                    return views, False
                self._in_pdv = False
                if self._pdv_control & LAST:
                    return views, True
            elif end - at < PDV.size:  # as long as a PDU's header
                return views, False
            elif self._upper_layer.pdu_left:
                self._open_pdv()
            elif view[at] == _P_DATA and self._upper_layer.state is State.ESTABLISHED:  # event 10, DT-2
                self._upper_layer.pdu_left = HEADER.unpack_from(view, at)[1]
                connection.start = at + HEADER.size
            else:
                return views, False

    def _open_pdv(self) -> None:
        """Read a PDV's header, which is at hand, and hold it against the PDU it stands in."""
        connection = self._upper_layer.connection
        length, context, control = PDV.unpack_from(connection.view, connection.start)
        if not 2 <= length <= self._upper_layer.pdu_left - 4:
            self.violated("a presentation data value is longer than its PDU, or has no header")
        connection.start += PDV.size
        self._upper_layer.pdu_left -= length + 4
        self._pdv_left = length - 2
        self._in_pdv = True
        self._pdv_context = context
        self._pdv_control = control


def fragment(context: int, command: bool, payload: bytes, maximum: int) -> bytes:
    """A whole message part as P-DATA-TF PDUs with a PDV each.

    Args:
        maximum: bytes of a PDU's variable field, more than 6.
    """
    room = maximum - PDV.size
    kind = COMMAND if command else 0
    pieces: list[bytes] = []
    for at in range(0, max(len(payload), 1), room):
        piece = payload[at : at + room]
        control = kind | (LAST if at + room >= len(payload) else 0)
        size = len(piece)
        pieces += (HEADER.pack(_P_DATA, size + PDV.size), PDV.pack(size + 2, context, control), piece)
    return b"".join(pieces)
