"""The DICOM network protocol over asyncio: associations, C-ECHO, C-STORE and C-FIND, asked and performed.

::

    async with associate(Peer("10.0.0.7", 104, "PACS"), "EDGE", contexts_to_store([instance])) as association:
        await association.store(Path("image.dcm"))

    async with serve("0.0.0.0", 11112, Handlers(store=keep), Policy(transfer_syntaxes=taken)) as acceptor:
        ...

Everything raised derives from `DimseError`; its `kind` is a word to sort failures by.
"""

from pacsops.dimse.acceptor import Acceptor, serve
from pacsops.dimse.association import Association, Timeouts
from pacsops.dimse.errors import (
    AssociationAborted,
    AssociationEnded,
    AssociationRejected,
    ConnectionLost,
    ContextNotAccepted,
    DimseError,
    OperationFailed,
    PeerSilent,
    PeerUnreachable,
    ProtocolViolation,
    TlsFailed,
    UnreadableFile,
)
from pacsops.dimse.handlers import Caller, FindRequest, Handlers, Refused, StoreRequest
from pacsops.dimse.items import ExtendedNegotiation, UserIdentity
from pacsops.dimse.negotiation import VERIFICATION, Context, Policy, contexts_to_store
from pacsops.dimse.part10 import Instance, StoredInstance, file_meta
from pacsops.dimse.query import Match, Query
from pacsops.dimse.requestor import Peer, Terms, associate, request_association
from pacsops.dimse.status import Answer
from pacsops.dimse.tls import acceptor_tls_context, tls_context

__all__ = [
    "VERIFICATION",
    "Acceptor",
    "Answer",
    "Association",
    "AssociationAborted",
    "AssociationEnded",
    "AssociationRejected",
    "Caller",
    "ConnectionLost",
    "Context",
    "ContextNotAccepted",
    "DimseError",
    "ExtendedNegotiation",
    "FindRequest",
    "Handlers",
    "Instance",
    "Match",
    "OperationFailed",
    "Peer",
    "PeerSilent",
    "PeerUnreachable",
    "Policy",
    "ProtocolViolation",
    "Query",
    "Refused",
    "StoreRequest",
    "StoredInstance",
    "Terms",
    "Timeouts",
    "TlsFailed",
    "UnreadableFile",
    "UserIdentity",
    "acceptor_tls_context",
    "associate",
    "contexts_to_store",
    "file_meta",
    "request_association",
    "serve",
    "tls_context",
]
