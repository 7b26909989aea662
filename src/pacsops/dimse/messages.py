"""Messages out of presentation data values: command sets whole, data sets piece by piece.

Source: PS3.7 6.3 and 9.3, PS3.8 annex E
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pacsops.dimse.commands import MAXIMUM_LENGTH, Command
from pacsops.dimse.errors import ProtocolViolation
from pacsops.dimse.p_data import DataReader
from pacsops.dimse.pdu import ControlPdu
from pacsops.dimse.upper_layer import UpperLayer

MAXIMUM_IDENTIFIER: Final = 4 << 20
"""Bytes of the longest identifier of a query or a match that is read."""


class MessageReader:
    """Reads one message after the other; its data set has to be read before the next.

    Args:
        contexts: numbers of the accepted presentation contexts.
        patience: seconds of silence in the middle of a message.
    """

    def __init__(self, upper_layer: UpperLayer, contexts: Collection[int], patience: float) -> None:
        self._data = DataReader(upper_layer)
        self._contexts = contexts
        self._patience = patience

    async def next(self, seconds: float | None) -> tuple[int, Command] | ControlPdu:
        """The next command set and the context it came in; or the release that came instead.

        Args:
            seconds: of silence before it.

        Raises:
            PeerSilent: nothing came.
            DimseError: the association is over, and why.
        """
        pdv = await self._data.next_pdv(seconds)
        if not isinstance(pdv, tuple):
            return pdv
        context, command = pdv
        if context not in self._contexts:
            self._data.violated(f"presentation context {context} was not accepted")
        if not command:
            self._data.violated("a data set without a command")
        encoded = await self._whole(context, command=True, maximum=MAXIMUM_LENGTH)
        try:
            return context, Command.decode(encoded)
        except ProtocolViolation as problem:
            self._data.violated(str(problem))

    async def data_set(self, context: int) -> tuple[list[memoryview], bool]:
        """What is at hand of the data set that follows the command just read, and whether it ends there.

        The views hold until the next call.

        Raises:
            PeerSilent: it stopped coming.
            DimseError: the association is over, and why.
        """
        return await self._data.fragments(context, command=False, seconds=self._patience)

    async def identifier(self, context: int) -> bytes:
        """The data set that follows the command just read, whole.

        Raises:
            ProtocolViolation: it is longer than any identifier should be.
            As `data_set`.
        """
        return await self._whole(context, command=False, maximum=MAXIMUM_IDENTIFIER)

    async def _whole(self, context: int, *, command: bool, maximum: int) -> bytes:
        pieces = bytearray()
        last = False
        while not last:
            views, last = await self._data.fragments(context, command=command, seconds=self._patience)
            for view in views:
                pieces += view
            if len(pieces) > maximum:
                what = "a command set" if command else "an identifier"
                self._data.violated(f"{what} of more than {maximum} bytes")
        return bytes(pieces)
