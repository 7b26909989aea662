"""One association's upper layer: the state machine at work on a connection.

Source: PS3.8 9.2
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, NoReturn

from pacsops.dimse.connection import Connection
from pacsops.dimse.errors import (
    AssociationAborted,
    AssociationEnded,
    AssociationRejected,
    DimseError,
    PeerSilent,
    ProtocolViolation,
)
from pacsops.dimse.machine import EVENT_OF, Action, Event, State, transition
from pacsops.dimse.pdu import (
    HEADER,
    MAXIMUM_CONTROL_LENGTH,
    UNRECOGNIZED_PDU,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ControlPdu,
    PduType,
    ReleaseRequest,
    ReleaseResponse,
    decode,
)

UNEXPECTED_PDU: Final = 2
_INVALID_VALUE: Final = 6
_P_DATA: Final = int(PduType.P_DATA_TF)


class UpperLayer:
    """The state machine of PS3.8 9.2 for one connection. One task receives."""

    def __init__(self, connection: Connection, *, requestor: bool, artim: float) -> None:
        self.connection = connection
        self.requestor = requestor
        self.artim = artim
        """Seconds to wait for an association request, and for the peer to close a connection that is over."""
        self.state = State.IDLE
        self.over: DimseError | None = None
        """Why the association is no more; set once."""
        self.pdu_left = 0
        """Bytes of the P-DATA-TF under way that were not read yet."""

    # events

    def happen(self, event: Event, pdu: ControlPdu | None = None, problem: ProtocolViolation | None = None) -> None:
        """Do what table 9-10 says about `event` in this state.

        Args:
            pdu: what came, or is to be sent.
            problem: what is wrong with what came, at event 19.

        Raises:
            DimseError: the association is over, and why; or it was over already.
        """
        found = transition(self.state, event, requestor=self.requestor)
        if found is None:
            raise self.over or AssociationEnded("there is no association any more")
        action, self.state = found
        if action in (Action.DT_1, Action.DT_2, Action.AR_6, Action.AR_7):
            return
        self._act(action, event, pdu, problem)

    def _act(self, action: Action, event: Event, pdu: ControlPdu | None, problem: ProtocolViolation | None) -> None:
        connection = self.connection
        match action:
            case Action.AE_2 | Action.AE_7 | Action.AE_8:
                assert pdu is not None
                self._say(pdu)
            case Action.AE_4:
                assert isinstance(pdu, AssociateReject)
                connection.begin_close()
                self._end(AssociationRejected(pdu.result, pdu.source, pdu.reason))
            case Action.AR_1:
                self._say(ReleaseRequest())
            case Action.AR_3:
                connection.begin_close()
                self.over = AssociationEnded("the association was released")
            case Action.AR_4 | Action.AR_9:
                if action is Action.AR_4:
                    self.over = AssociationEnded("the peer released the association")
                self._say(ReleaseResponse())
            case Action.AA_1 if event is Event.ABORT_REQUEST:
                self.over = AssociationEnded("the association was aborted here")
                self._say(Abort())
            case Action.AA_1 | Action.AA_7 | Action.AA_8:
                problem = problem or _unexpected(pdu)
                self._say(Abort(2, problem.reason))
                self._end(problem)
            case Action.AA_2 | Action.AR_5:
                connection.begin_close()
            case Action.AA_3:
                assert isinstance(pdu, Abort)
                connection.begin_close()
                self._end(AssociationAborted(pdu.source, pdu.reason))
            case Action.AA_4 | Action.AA_5:
                self._end(connection.ended or AssociationEnded("the connection is closed"))

    def _say(self, pdu: ControlPdu) -> None:
        """What a closed connection means is told by event 17, whatever was to be said."""
        if self.connection.lost is None:
            self.connection.write(pdu.encode())

    def _end(self, why: DimseError) -> NoReturn:
        self.over = self.over or why
        raise why

    # associating and ending

    async def associate(self, request: AssociateRequest, seconds: float) -> AssociateAccept:
        """Ask for an association over a connection that is there.

        Raises:
            AssociationRejected, AssociationAborted, ProtocolViolation, PeerSilent, ConnectionLost.
        """
        self.happen(Event.ASSOCIATE_REQUEST)
        self.happen(Event.TRANSPORT_CONFIRMED, request)
        try:
            async with asyncio.timeout(seconds):
                answer = await self.receive()
        except TimeoutError:
            self.happen(Event.ABORT_REQUEST)
            raise PeerSilent(f"no answer to the association request within {seconds:g} s") from None
        assert isinstance(answer, AssociateAccept)
        return answer

    async def indication(self) -> AssociateRequest | None:
        """The association request of a peer that connected; None when none came within ARTIM.

        Raises:
            ProtocolViolation, ConnectionLost.
        """
        self.happen(Event.TRANSPORT_INDICATION)
        try:
            async with asyncio.timeout(self.artim):
                request = await self.receive()
        except TimeoutError:
            self.happen(Event.ARTIM_EXPIRED)
            return None
        except AssociationAborted:  # AA-2: nothing was there to be aborted
            return None
        assert isinstance(request, AssociateRequest)
        return request

    def abort(self) -> None:
        """Send A-ABORT where there is an association to abort. `linger` next."""
        if self.connection.lost is not None:
            self.over = self.over or self.connection.lost
        elif transition(self.state, Event.ABORT_REQUEST, requestor=self.requestor):
            self.happen(Event.ABORT_REQUEST)

    async def linger(self) -> None:
        """Close. In state 13 the peer closes first, until ARTIM expires: closing could destroy the last PDU sent.

        What comes meanwhile is thrown away unread: AA-6, and AA-7's further A-ABORTs to a peer that got one.
        """
        if self.state is State.AWAIT_CLOSE and not self.connection.lost:
            try:
                async with asyncio.timeout(self.artim):
                    await self.connection.discard()
                self.happen(Event.TRANSPORT_CLOSED)
            except TimeoutError:
                self.happen(Event.ARTIM_EXPIRED)
        await self.connection.close(self.artim)

    # PDUs

    async def receive(self, seconds: float | None = None) -> ControlPdu | Literal["data"]:
        """The next PDU, after the state machine had its say; of a P-DATA-TF only the header was read.

        Raises:
            DimseError: the association is over, and why.
            PeerSilent: nothing came for `seconds`; the association is as it was.
        """
        connection = self.connection
        try:
            await connection.fill(HEADER.size, seconds)
            kind, length = HEADER.unpack_from(connection.view, connection.start)
            if kind == _P_DATA:
                connection.start += HEADER.size
                self.pdu_left = length
                self.happen(Event.P_DATA_TF)
                return "data"
            self._check(kind, length)
            await connection.fill(HEADER.size + length, seconds)
        except DimseError:
            if connection.ended is not None and self.over is None:
                self.happen(Event.TRANSPORT_CLOSED)
            raise
        body = connection.start + HEADER.size
        connection.start = body + length
        try:
            pdu = decode(kind, connection.view[body : body + length])
        except ProtocolViolation as problem:
            self._invalid(problem)
        self.happen(EVENT_OF[PduType(kind)], pdu)
        return pdu

    def _check(self, kind: int, length: int) -> None:
        """Before anything is allocated for it."""
        if not PduType.ASSOCIATE_RQ <= kind <= PduType.ABORT:
            problem = ProtocolViolation(f"PDU type {kind:02X}H is unknown", reason=UNRECOGNIZED_PDU)
        elif length > (MAXIMUM_CONTROL_LENGTH if kind <= PduType.ASSOCIATE_AC else 4):
            problem = ProtocolViolation(f"a PDU of type {kind:02X}H has {length} bytes", reason=_INVALID_VALUE)
        else:
            return
        self._invalid(problem)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Write whole P-DATA-TF PDUs.

        Raises:
            DimseError: the association is over, and why.
        """
        self.happen(Event.P_DATA_REQUEST)
        self.connection.write(data)

    def violated(self, problem: str, reason: int = _INVALID_VALUE) -> NoReturn:
        """End the association over what the peer sent inside P-DATA (event 19).

        Raises:
            ProtocolViolation: always.
        """
        self._invalid(ProtocolViolation(problem, reason=reason))

    def _invalid(self, problem: ProtocolViolation) -> NoReturn:
        self.happen(Event.INVALID_PDU, problem=problem)
        raise problem

    async def fill(self, need: int, seconds: float | None) -> None:
        try:
            await self.connection.fill(need, seconds)
        except DimseError:
            if self.connection.ended is not None and self.over is None:
                self.happen(Event.TRANSPORT_CLOSED)
            raise


def _unexpected(pdu: ControlPdu | None) -> ProtocolViolation:
    what = type(pdu).__name__ if pdu is not None else "P-DATA"
    return ProtocolViolation(f"the peer sent {what} out of turn", reason=UNEXPECTED_PDU)
