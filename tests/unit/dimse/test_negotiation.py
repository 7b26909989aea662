"""Answers to association requests that are as long as requests can be."""

from __future__ import annotations

import pytest

from pacsops.dimse.errors import ProtocolViolation
from pacsops.dimse.items import Role, UserInformation
from pacsops.dimse.negotiation import Policy, accept
from pacsops.dimse.pdu import HEADER, AssociateRequest, ProposedContext, decode

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
TAKEN = Policy(transfer_syntaxes=lambda _: (EXPLICIT,))


def heard(request: AssociateRequest, replaced: bytes = b"", by: bytes = b"") -> AssociateRequest:
    """The request as an acceptor reads it, with some of its bytes replaced by as many others."""
    assert len(replaced) == len(by)
    encoded = request.encode().replace(replaced, by) if replaced else request.encode()
    found = decode(1, encoded[HEADER.size :])
    assert isinstance(found, AssociateRequest)
    return found


def a_request(*contexts: ProposedContext, roles: tuple[Role, ...] = ()) -> AssociateRequest:
    return AssociateRequest(called_aet="A", calling_aet="B", contexts=contexts, user=UserInformation(roles=roles))


@pytest.mark.parametrize("abstract, transfer", [("1." * 33, EXPLICIT), (CT, "1." * 33), (CT, "x" * 65_000)])
def test_a_uid_that_is_longer_than_any_is_refused(abstract: str, transfer: str) -> None:
    with pytest.raises(ProtocolViolation, match="a UID of more than 64 bytes"):
        heard(a_request(ProposedContext(1, abstract, (transfer,))))


def test_padding_does_not_make_a_uid_long() -> None:
    assert heard(a_request(ProposedContext(1, CT + "\0" * 60, (EXPLICIT + " " * 60,)))).contexts == (
        ProposedContext(1, CT, (EXPLICIT,)),
    )


def test_there_is_room_for_an_answer_to_each_context_and_role() -> None:
    """Bytes outside ASCII are four characters each where they are said again."""
    signs = [f"{number:064}" for number in range(128)]
    contexts = [ProposedContext(2 * number + 1, uid, (uid,)) for number, uid in enumerate(signs)]
    request = heard(
        a_request(*contexts, roles=tuple(Role(uid, True, True) for uid in signs)), b"0" * 60, b"\xff" * 60
    )

    acceptance = decode(2, accept(request, TAKEN).encode()[HEADER.size :])

    assert len(request.user.roles) == len(acceptance.user.roles) == len(acceptance.contexts) == 128  # type: ignore[union-attr]


def test_roles_for_what_nobody_proposed_are_not_answered() -> None:
    request = heard(
        a_request(
            ProposedContext(1, CT, (EXPLICIT,)), roles=(Role(CT, True, False),) + (Role("1", True, True),) * 7000
        )
    )

    assert accept(request, TAKEN).user.roles == (Role(CT, True, False),)
    accept(request, TAKEN).encode()
