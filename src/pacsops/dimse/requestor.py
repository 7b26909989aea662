"""How an association with a peer begins and ends.

Source: PS3.8 7
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from pacsops.dimse.association import Association, Timeouts
from pacsops.dimse.connection import connect
from pacsops.dimse.errors import ConnectionLost
from pacsops.dimse.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from pacsops.dimse.items import ExtendedNegotiation, OperationsWindow, UserIdentity, UserInformation
from pacsops.dimse.negotiation import Context, agreed, propose
from pacsops.dimse.pdu import AssociateRequest, ae_title
from pacsops.dimse.upper_layer import UpperLayer

MAXIMUM_LENGTH: Final = 128 << 10


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM application entity to associate with."""

    host: str
    port: int
    aet: str
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked for with an association besides contexts."""

    window: int = 1
    """Operations to have outstanding at a time, as far as the peer agrees; 0 is no limit (PS3.7 D.3.3.3)."""
    maximum_length: int = MAXIMUM_LENGTH
    """Of the P-DATA-TF PDUs we take: bytes, 0 for no limit."""
    identity: UserIdentity | None = None
    extended: tuple[ExtendedNegotiation, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)


@asynccontextmanager
async def associate(
    peer: Peer, calling_aet: str, contexts: Iterable[Context], terms: Terms | None = None
) -> AsyncIterator[Association]:
    """An association with `peer`: released at the end, aborted when an exception ends it.

    Raises:
        As `request_association`.
    """
    association = await request_association(peer, calling_aet, contexts, terms)
    try:
        yield association
    except BaseException:
        await association.abort()
        raise
    await association.release()


async def request_association(
    peer: Peer, calling_aet: str, contexts: Iterable[Context], terms: Terms | None = None
) -> Association:
    """An association that whoever asked has to release or to abort; for those who keep some.

    Raises:
        ValueError: an AE title that is none; no context, or more than 128.
        PeerUnreachable, PeerSilent, TlsFailed, AssociationRejected, AssociationAborted, ProtocolViolation,
        ConnectionLost: there is no association, and why.
    """
    terms = terms or Terms()
    request = AssociateRequest(
        called_aet=ae_title(peer.aet),
        calling_aet=ae_title(calling_aet),
        contexts=propose(contexts),
        user=UserInformation(
            maximum_length=terms.maximum_length,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version=IMPLEMENTATION_VERSION,
            window=OperationsWindow(terms.window, 1) if terms.window != 1 else None,
            extended=terms.extended,
            identity=terms.identity,
        ),
    )
    connection = await connect(peer.host, peer.port, peer.tls, terms.timeouts.connect)
    upper_layer = UpperLayer(connection, requestor=True, artim=terms.timeouts.close)
    try:
        acceptance = await upper_layer.associate(request, terms.timeouts.associate)
        holds = agreed(request, acceptance, peer=acceptance.user)
    except BaseException as error:
        if peer.tls and isinstance(error, ConnectionLost):
            # Its alert mostly comes too late: the handshake of TLS 1.3 is over for us before it saw our certificate.
            error.hint = "peers hang up like this on a certificate they do not believe: look at ours, and their log"
        upper_layer.abort()
        await upper_layer.linger()
        raise
    return Association(upper_layer, acceptance, holds, terms.timeouts)
