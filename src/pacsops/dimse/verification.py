"""One C-ECHO from this host, telling apart every way it can fail.

Source: PS3.4 annex A (Verification), PS3.7 9.1.5 (C-ECHO), PS3.8 9.3.4 (A-ASSOCIATE-RJ)
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Literal

from pacsops.dimse.association import Timeouts
from pacsops.dimse.errors import ContextNotAccepted, DimseError
from pacsops.dimse.negotiation import VERIFICATION, Context
from pacsops.dimse.requestor import Peer, Terms, request_association
from pacsops.dimse.tls import tls_context

__all__ = ["EchoResult", "Outcome", "ask", "echo", "tls_context"]

Outcome = Literal["answered", "rejected", "refused", "unreachable", "timeout", "aborted"]

_CLOSING_SECONDS = 0.5
_OUTCOMES: dict[str, Outcome] = {
    "refused": "refused",
    "unreachable": "unreachable",
    "timeout": "timeout",
    "tls": "rejected",
    "rejected-association": "rejected",
    "no-presentation-context": "rejected",
    "peer-status": "rejected",
    "out-of-resources": "rejected",
    "aborted": "aborted",
}
"""By `DimseError.kind`."""


@dataclass(frozen=True, slots=True)
class EchoResult:
    """How one C-ECHO went.

    answered: status Success. rejected: the association, or C-ECHO on it, was turned down, or the two do not come to
    speak TLS. refused: nothing listens on the port. unreachable: no way to the host. timeout: silence. aborted: the
    peer hung up, or speaks something else.
    """

    outcome: Outcome
    milliseconds: int
    """From connecting to the answer, or to giving up."""
    reason: str
    """In plain words; empty when answered."""

    @property
    def ok(self) -> bool:
        return self.outcome == "answered"


def echo(
    host: str,
    port: int,
    called_aet: str,
    calling_aet: str,
    timeout: float = 5.0,
    *,
    tls: ssl.SSLContext | None = None,
) -> EchoResult:
    """One C-ECHO on an association of its own.

    Args:
        timeout: seconds for each of connecting, associating and answering.
        tls: speak over TLS (PS3.15 annex B), see `tls_context`.

    Raises:
        ValueError: an AE title that is no AE title (PS3.5 6.2).
    """
    return asyncio.run(ask(Peer(host, port, called_aet, tls), calling_aet, timeout))


async def ask(peer: Peer, calling_aet: str, timeout: float = 5.0) -> EchoResult:
    """`echo` for those who have a loop already; raises as it does."""
    timeouts = Timeouts(connect=timeout, associate=timeout, response=timeout, close=min(timeout, _CLOSING_SECONDS))
    outcome: Outcome = "answered"
    reason = ""
    started = time.perf_counter()
    association = None
    try:
        association = await request_association(peer, calling_aet, [Context(VERIFICATION)], Terms(timeouts=timeouts))
        await association.echo()
    except ContextNotAccepted:
        outcome, reason = "rejected", "the peer takes the association but not C-ECHO on it"
    except DimseError as error:
        outcome, reason = _OUTCOMES[error.kind], str(error)
    milliseconds = round((time.perf_counter() - started) * 1000)
    if association is not None:
        await association.release()
    return EchoResult(outcome, milliseconds, reason)
