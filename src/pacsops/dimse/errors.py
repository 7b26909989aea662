"""What can go wrong between two application entities, told apart as far as the network tells it.

`kind` is the word deliveries are sorted by: refused, unreachable, timeout, tls, rejected-association, aborted,
no-presentation-context, out-of-resources, peer-status, unreadable-file.
"""

from __future__ import annotations

from pacsops.dimse.status import category, describe
from pacsops.errors import PacsopsError


class DimseError(PacsopsError):
    """Root of everything this room raises, whatever a peer sends or a network does."""

    kind = "aborted"


class PeerUnreachable(DimseError):
    """No connection: nothing listens (`refused`), no way there or no such name (`unreachable`)."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.kind = "refused" if refused else "unreachable"


class PeerSilent(DimseError):
    """The peer said nothing, or took nothing, for as long as it was given."""

    kind = "timeout"


class TlsFailed(DimseError):
    """The two do not come to speak TLS."""

    kind = "tls"


class ConnectionLost(DimseError):
    """The connection closed without a release or an abort."""


class AssociationEnded(DimseError):
    """The association was released, here or by the peer, before what was asked of it."""


class AssociationAborted(DimseError):
    """The peer sent A-ABORT (PS3.8 9.3.8). `source` 0 is its application, 2 its network layer."""

    def __init__(self, source: int, reason: int) -> None:
        by = "the peer's application" if source == 0 else "the peer's network layer"
        why = f": {ABORT_REASONS[reason]}" if source and reason in ABORT_REASONS else ""
        super().__init__(f"{by} aborted the association{why}")
        self.source = source
        self.reason = reason


class AssociationRejected(DimseError):
    """The peer sent A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    kind = "rejected-association"

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(rejection(result, source, reason))
        self.result = result
        self.source = source
        self.reason = reason

    @property
    def transient(self) -> bool:
        """Whether the peer itself calls it temporary (result 2)."""
        return self.result == 2


class ProtocolViolation(DimseError):
    """The peer sent what DICOM does not allow there. `reason` is that of the A-ABORT it gets (PS3.8 9.3.8)."""

    def __init__(self, message: str, *, reason: int = 0) -> None:
        super().__init__(message)
        self.reason = reason


class ContextNotAccepted(DimseError):
    """The peer takes the association, but not this SOP class in this transfer syntax."""

    kind = "no-presentation-context"


class OperationFailed(DimseError):
    """The peer answered with a status of failure (PS3.7 annex C)."""

    def __init__(self, operation: str, status: int, comment: str = "", offending: tuple[int, ...] = ()) -> None:
        said = f' "{comment}"' if comment else ""
        super().__init__(f"{operation} answered with status 0x{status:04X}, {describe(status)}{said}")
        self.status = status
        self.comment = comment
        self.offending = offending
        self.kind = "out-of-resources" if category(status) == "out of resources" else "peer-status"


class UnreadableFile(DimseError):
    """A file to be sent is no DICOM file (PS3.10 7.1), or shrank while it was sent."""

    kind = "unreadable-file"


ABORT_REASONS = {
    0: "no reason given",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}

_RESULTS = {1: "rejected permanent", 2: "rejected transient"}
_SOURCES = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}
_REASONS = {
    (1, 1): "No reason given",
    (1, 2): "Application context name not supported",
    (1, 3): "Calling AE title not recognised",
    (1, 7): "Called AE title not recognised",
    (2, 1): "No reason given",
    (2, 2): "Protocol version not supported",
    (3, 1): "Temporary congestion",
    (3, 2): "Local limit exceeded",
}


def rejection(result: int, source: int, reason: int) -> str:
    """An A-ASSOCIATE-RJ in words (PS3.8 table 9-21); numbers it does not know stay numbers."""
    why = _REASONS.get((source, reason), f"reason {reason}")
    return f"{why} ({_RESULTS.get(result, f'result {result}')}, by {_SOURCES.get(source, f'source {source}')})"
