"""Presentation contexts and roles: what is proposed, and what becomes of it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]
from tests.support.dimse import (
    CT,
    EXPLICIT,
    IMPLICIT,
    SYNTAXES,
    connected,
    in_loop,
    local,
    receiving,
)

from pacsops.dimse import (
    VERIFICATION,
    Context,
    ContextNotAccepted,
    associate,
)
from pacsops.dimse.items import Role, UserInformation
from pacsops.dimse.pdu import (
    AssociateAccept,
    AssociateRequest,
    PduType,
    ProposedContext,
    decode,
)


@in_loop
async def test_each_context_gets_its_own_result() -> None:
    taken = {CT: [IMPLICIT], VERIFICATION: [EXPLICIT, IMPLICIT]}
    contexts = [
        Context(CT, [EXPLICIT, IMPLICIT]),
        Context(CT, [EXPLICIT]),
        Context("1.2.3", [IMPLICIT]),
        Context(VERIFICATION),
    ]
    async with connected(contexts, transfer_syntaxes=lambda uid: taken.get(uid, [])) as (association, _):
        results = [(one.id, one.result) for one in association.acceptance.contexts]

        assert results == [(1, 0), (3, 4), (5, 3), (7, 0)]
        assert association.agreed.accepted == {1: (CT, IMPLICIT), 7: (VERIFICATION, EXPLICIT)}
        with pytest.raises(ContextNotAccepted, match=r"1\.2\.3: the peer does not know the SOP class"):
            association.agreed.context_for("1.2.3")
        with pytest.raises(ContextNotAccepted, match="it was not proposed"):
            association.agreed.context_for("1.2.4")
        with pytest.raises(ContextNotAccepted, match="not in this transfer syntax"):
            association.agreed.context_for(CT, EXPLICIT)


@in_loop
async def test_pynetdicom_sees_the_same_results() -> None:
    def call(port: int) -> tuple[list[int], list[int | None]]:
        ae = AE()
        ae.add_requested_context(CTImageStorage, EXPLICIT)
        ae.add_requested_context("1.2.3", IMPLICIT)
        ae.add_requested_context(Verification, [IMPLICIT, EXPLICIT])
        association = ae.associate("127.0.0.1", port)
        accepted = [context.context_id for context in association.accepted_contexts]
        rejected = [context.result for context in association.rejected_contexts]
        association.release()
        return accepted, rejected

    taken = {CT: [IMPLICIT], VERIFICATION: [EXPLICIT, IMPLICIT]}
    async with receiving(transfer_syntaxes=lambda uid: taken.get(uid, [])) as (_, acceptor):
        assert await asyncio.to_thread(call, acceptor.port) == ([5], [4, 3])


@in_loop
async def test_128_contexts_of_every_transfer_syntax_are_negotiated() -> None:
    contexts = [Context(f"1.2.{number}", SYNTAXES) for number in range(128)]
    async with connected(contexts) as (association, _):
        assert len(association.agreed.accepted) == 128


@pytest.mark.parametrize("number", [0, 129])
@in_loop
async def test_no_context_and_too_many_are_mistakes_of_the_caller(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 128 presentation contexts"):
        async with associate(local(104), "EDGE", [Context("1.2.3")] * number):
            pass


@in_loop
async def test_who_calls_is_scu_and_not_scp() -> None:
    request = AssociateRequest(
        called_aet="ANY",
        calling_aet="EDGE",
        contexts=(ProposedContext(1, CT, (EXPLICIT,)),),
        user=UserInformation(roles=(Role(CT, True, True),)),
    )

    def ask(port: int) -> AssociateAccept:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request.encode())
            answer = decode(PduType.ASSOCIATE_AC, connection.recv(10_000)[6:])
            assert isinstance(answer, AssociateAccept)
            return answer

    async with receiving() as (_, acceptor):
        answer = await asyncio.to_thread(ask, acceptor.port)

    assert answer.user.roles == (Role(CT, True, False),)
