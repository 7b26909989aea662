"""Presentation contexts and the rest of what two sides agree on before the first message.

Source: PS3.8 7.1.1 and 9.3.2 to 9.3.4, PS3.7 annex D.3
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pacsops.dimse.errors import ContextNotAccepted, ProtocolViolation
from pacsops.dimse.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from pacsops.dimse.items import OperationsWindow, Role, UserIdentity, UserInformation
from pacsops.dimse.part10 import Instance
from pacsops.dimse.pdu import (
    APPLICATION_CONTEXT,
    AnsweredContext,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    ProposedContext,
)

VERIFICATION: Final = "1.2.840.10008.1.1"
IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
MAXIMUM_CONTEXTS: Final = 128
SMALLEST_PDU: Final = 7
"""Below, not a byte of a message fits into a P-DATA-TF."""


@dataclass(frozen=True, slots=True)
class Context:
    """A SOP class to talk about, and transfer syntaxes of which the peer chooses one."""

    abstract_syntax: str
    transfer_syntaxes: Sequence[str] = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def contexts_to_store(instances: Iterable[Instance]) -> list[Context]:
    """A context for each SOP class and transfer syntax: every instance goes out as it is stored, or not at all."""
    pairs = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in instances)
    return [Context(sop_class, (syntax,)) for sop_class, syntax in pairs]


def propose(contexts: Iterable[Context]) -> tuple[ProposedContext, ...]:
    """The contexts with their numbers 1, 3, 5, …

    Raises:
        ValueError: none, or more than an association has room for (128).
    """
    proposed = tuple(
        ProposedContext(2 * number + 1, context.abstract_syntax, tuple(context.transfer_syntaxes))
        for number, context in enumerate(contexts)
    )
    if not 1 <= len(proposed) <= MAXIMUM_CONTEXTS:
        raise ValueError(f"an association has 1 to {MAXIMUM_CONTEXTS} presentation contexts, not {len(proposed)}")
    return proposed


@dataclass(frozen=True, slots=True)
class Agreed:
    """What holds on an association."""

    accepted: Mapping[int, tuple[str, str]]
    """Abstract and transfer syntax of each accepted context, by its number."""
    refused: Mapping[str, int]
    """Result (PS3.8 table 9-18) by abstract syntax, of those accepted in no context."""
    maximum_length: int
    """Bytes of a P-DATA-TF PDU's variable field the peer takes; 0 is no limit."""
    window: int
    """Operations the requestor may have outstanding; 0 is no limit."""

    def context_for(self, abstract_syntax: str, transfer_syntax: str | None = None) -> tuple[int, str]:
        """Number and transfer syntax of an accepted context; the first one unless the transfer syntax is said.

        Raises:
            ContextNotAccepted: there is none.
        """
        for number, (abstract, transfer) in self.accepted.items():
            if abstract == abstract_syntax and transfer_syntax in (None, transfer):
                return number, transfer
        if abstract_syntax in self.refused:
            result = self.refused[abstract_syntax]
            why = _RESULTS.get(result, f"result {result}")
        elif any(abstract == abstract_syntax for abstract, _ in self.accepted.values()):
            why = "not in this transfer syntax"
        else:
            why = "it was not proposed"
        syntax = f" in {transfer_syntax}" if transfer_syntax else ""
        raise ContextNotAccepted(f"no presentation context for {abstract_syntax}{syntax}: {why}")


_RESULTS: Final[Mapping[int, str]] = {
    ContextResult.USER_REJECTION: "the peer rejects it",
    ContextResult.NO_REASON: "the peer rejects it without a reason",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "the peer does not know the SOP class",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "the peer takes it in no transfer syntax proposed",
}


def agreed(request: AssociateRequest, accept: AssociateAccept, *, peer: UserInformation) -> Agreed:
    """What an acceptance makes of a request; `peer` is the user information that came from the other side.

    Raises:
        ProtocolViolation: the peer takes no PDU into which anything fits.
    """
    if 0 < peer.maximum_length < SMALLEST_PDU:
        raise ProtocolViolation(f"the peer takes PDUs of {peer.maximum_length} bytes only: nothing fits into them")
    proposed = {context.id: context for context in request.contexts}
    accepted: dict[int, tuple[str, str]] = {}
    results: dict[str, int] = {}
    for answer in accept.contexts:
        context = proposed.get(answer.id)
        if context is None:
            continue  # answers to nothing we asked mean nothing
        if answer.result == ContextResult.ACCEPTED and answer.transfer_syntax in context.transfer_syntaxes:
            accepted[answer.id] = (context.abstract_syntax, answer.transfer_syntax)
        else:
            results[context.abstract_syntax] = answer.result or ContextResult.NO_REASON
    usable = {abstract for abstract, _ in accepted.values()}
    return Agreed(
        accepted=accepted,
        refused={abstract: result for abstract, result in results.items() if abstract not in usable},
        maximum_length=peer.maximum_length,
        window=_window(request, accept),
    )


def _window(request: AssociateRequest, accept: AssociateAccept) -> int:
    """Without the item in both, operations are synchronous (PS3.7 D.3.3.3)."""
    if request.user.window is None or accept.user.window is None:
        return 1
    offered, answered = request.user.window.invoked, accept.user.window.invoked
    return min(offered, answered) if offered and answered else max(offered, answered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whom an acceptor lets in, for what, and how much at a time. Override `admit` and `associations_of` for
    rules of its own.

    AE titles are compared as they are: upper and lower case count (PS3.5 6.2).
    """

    transfer_syntaxes: Callable[[str], Collection[str]]
    """The transfer syntaxes taken for an abstract syntax; none means the abstract syntax is not supported."""
    called_aets: Collection[str] | None = None
    """Names this acceptor answers to; None: to any."""
    calling_aets: Collection[str] | None = None
    """Who may call; None: anybody."""
    identity_holds: Callable[[UserIdentity], bool] | None = None
    """Whether a user identity is what it says; those who bring none are rejected then. None: not looked at."""
    maximum_associations: int = 100
    maximum_associations_per_calling_aet: int = 100
    maximum_length: int = 128 << 10
    """Of P-DATA-TF PDUs to be sent here: bytes, 0 for no limit."""
    window: int = 16
    """Operations taken at a time on one association, of those who offer to be asynchronous."""
    artim: float = 30
    """Seconds for an association request to come, and for a peer to close what is over."""
    patience: float = 60
    """Seconds of silence in the middle of a message."""
    idle: float = 600
    """Seconds between messages."""

    def admit(self, request: AssociateRequest, address: str) -> AssociateReject | None:
        """None lets the peer in.

        Args:
            address: where it connects from.
        """
        if self.called_aets is not None and request.called_aet not in self.called_aets:
            return UNKNOWN_CALLED_AET
        if self.calling_aets is not None and request.calling_aet not in self.calling_aets:
            return UNKNOWN_CALLING_AET
        if self.identity_holds is not None:
            identity = request.user.identity
            if identity is None or not self.identity_holds(identity):
                return NOT_AUTHENTICATED
        return None

    def associations_of(self, calling_aet: str) -> int:
        """How many a calling AE title that was admitted may have open at a time."""
        return self.maximum_associations_per_calling_aet


UNKNOWN_CALLED_AET: Final = AssociateReject(1, 1, 7)
UNKNOWN_CALLING_AET: Final = AssociateReject(1, 1, 3)
NOT_AUTHENTICATED: Final = AssociateReject(1, 2, 1)
_UNKNOWN_APPLICATION_CONTEXT = AssociateReject(1, 1, 2)
_UNKNOWN_VERSION = AssociateReject(1, 2, 2)
LIMIT_EXCEEDED: Final = AssociateReject(2, 3, 2)


def unacceptable(request: AssociateRequest) -> AssociateReject | None:
    """The rejection of a request that no policy could accept (AE-6, PS3.8 9.3.4)."""
    if not request.protocol_version & 1:
        return _UNKNOWN_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return _UNKNOWN_APPLICATION_CONTEXT
    return None


def accept(request: AssociateRequest, policy: Policy) -> AssociateAccept:
    """The acceptance of a request, with an answer to each of its contexts.

    Of the transfer syntaxes taken, the first proposed is chosen: it is the one the peer need not convert to.
    """
    return AssociateAccept(
        called_aet=request.called_aet,
        calling_aet=request.calling_aet,
        contexts=tuple(_answer(context, policy) for context in request.contexts[:MAXIMUM_CONTEXTS]),
        user=_user_information(request, policy),
    )


def _answer(context: ProposedContext, policy: Policy) -> AnsweredContext:
    taken = policy.transfer_syntaxes(context.abstract_syntax)
    if not taken:
        result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    else:
        for syntax in context.transfer_syntaxes:
            if syntax in taken:
                return AnsweredContext(context.id, ContextResult.ACCEPTED, syntax)
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    return AnsweredContext(context.id, result, next(iter(context.transfer_syntaxes), IMPLICIT_VR_LITTLE_ENDIAN))


def _user_information(request: AssociateRequest, policy: Policy) -> UserInformation:
    offered = request.user.window
    invoked = min(offered.invoked or policy.window, policy.window) if offered else 1
    identity = request.user.identity
    proposed = {context.abstract_syntax for context in request.contexts[:MAXIMUM_CONTEXTS]}
    roles = {role.abstract_syntax: role for role in request.user.roles if role.abstract_syntax in proposed}
    asks = policy.identity_holds is not None and identity is not None and identity.response_requested
    return UserInformation(
        maximum_length=policy.maximum_length,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version=IMPLEMENTATION_VERSION,
        window=OperationsWindow(invoked, 1) if offered else None,
        # We perform and never invoke: whoever calls is SCU and not SCP.
        roles=tuple(Role(role.abstract_syntax, role.scu, False) for role in roles.values()),
        identity_response=b"" if asks else None,
    )
