"""Who is let in, and who is not, in words both sides understand."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from tests.support.dimse import (
    ECHO,
    dcmtk,
    in_loop,
    local,
    receiving,
    rejection,
)
from tests.support.network import eventually, free_port

from pacsops.dimse import (
    ExtendedNegotiation,
    Terms,
    UserIdentity,
    associate,
)
from pacsops.dimse.items import UserInformation
from pacsops.dimse.pdu import (
    Abort,
    AssociateReject,
    AssociateRequest,
)


@in_loop
async def test_a_called_aet_that_is_not_ours_is_rejected() -> None:
    async with receiving(called_aets={"EDGE"}) as (_, acceptor):
        assert await rejection(acceptor.port, called="edge") == (
            1, 1, 7, "Called AE title not recognised (rejected permanent, by service user)",
        )  # fmt: skip


@in_loop
async def test_an_unknown_calling_aet_is_rejected_and_others_are_not() -> None:
    async with receiving(calling_aets={"SCANNER"}) as (_, acceptor):
        assert (await rejection(acceptor.port, calling="NOPE_AET"))[:3] == (1, 1, 3)
        async with associate(local(acceptor.port), "SCANNER", ECHO) as association:
            await association.echo()
        code, said = await dcmtk("echoscu", "-aet", "NOPE_AET", "127.0.0.1", acceptor.port)

    assert code != 0
    assert "Reason: Calling AE Title Not Recognized" in said


@in_loop
async def test_too_many_associations_are_rejected_for_now() -> None:
    async with receiving(maximum_associations=1) as (_, acceptor):
        async with associate(local(acceptor.port), "EDGE", ECHO):
            assert (await rejection(acceptor.port))[:3] == (2, 3, 2)
        await asyncio.to_thread(eventually, lambda: not acceptor.associations)
        async with associate(local(acceptor.port), "EDGE", ECHO) as association:
            await association.echo()


@in_loop
async def test_one_peer_with_too_many_associations_keeps_nobody_else_out() -> None:
    async with receiving(maximum_associations_per_calling_aet=2) as (_, acceptor):
        peer = local(acceptor.port)
        async with associate(peer, "CT1", ECHO), associate(peer, "CT1", ECHO):
            assert acceptor.associations == {"CT1": 2}
            assert (await rejection(acceptor.port, calling="CT1"))[:3] == (2, 3, 2)
            async with associate(peer, "MR1", ECHO) as association:
                await association.echo()


@in_loop
async def test_a_user_who_is_not_who_they_say_is_rejected() -> None:
    def holds(identity: UserIdentity) -> bool:
        return (identity.primary, identity.secondary) == (b"operator", b"right")

    right = Terms(identity=UserIdentity(2, b"operator", b"right", response_requested=True))
    wrong = Terms(identity=UserIdentity(2, b"operator", b"wrong"))
    async with receiving(identity_holds=holds) as (_, acceptor):
        assert (await rejection(acceptor.port, terms=wrong))[:3] == (1, 2, 1)
        assert (await rejection(acceptor.port))[:3] == (1, 2, 1)
        async with associate(local(acceptor.port), "EDGE", ECHO, right) as association:
            assert association.acceptance.user.identity_response == b""


@in_loop
async def test_user_identity_of_pynetdicom_is_looked_at() -> None:
    seen: list[UserIdentity] = []

    def holds(identity: UserIdentity) -> bool:
        seen.append(identity)
        return True

    def call(port: int) -> bytes:
        identity = UserIdentityNegotiation()
        identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"me", b"secret"
        identity.positive_response_requested = True
        ae = AE()
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", port, ext_neg=[identity])
        (answer,) = [one for one in association.acceptor.user_information if isinstance(one, UserIdentityNegotiation)]
        association.release()
        response: bytes = answer.server_response
        return response

    async with receiving(identity_holds=holds) as (_, acceptor):
        assert await asyncio.to_thread(call, acceptor.port) == b""

    assert seen == [UserIdentity(2, b"me", b"secret", True)]


def test_our_identity_and_extensions_reach_pynetdicom() -> None:
    heard: list[Any] = []
    model = "1.2.840.10008.5.1.4.1.2.2.1"

    def identify(event: evt.Event) -> tuple[bool, bytes]:
        heard.append((event.user_id_type, event.primary_field))
        return True, b"ticket"

    def extend(event: evt.Event) -> dict[str, bytes]:
        heard.append(dict(event.app_info))
        return {model: b"\1\1"}

    ae = AE()
    ae.add_supported_context(Verification)
    port = free_port()
    handlers = [(evt.EVT_USER_ID, identify), (evt.EVT_SOP_EXTENDED, extend)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    terms = Terms(
        identity=UserIdentity(5, b"token", response_requested=True),
        extended=(ExtendedNegotiation(model, b"\1\0\1"),),
    )

    @in_loop
    async def ask() -> None:
        async with associate(local(port), "EDGE", ECHO, terms) as association:
            user = association.acceptance.user
            assert (user.identity_response, user.extended) == (b"ticket", (ExtendedNegotiation(model, b"\1\1"),))

    try:
        ask()
    finally:
        server.shutdown()
    assert heard == [(5, b"token"), {model: b"\1\0\1"}]


def on_a_socket(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
            if len(answer) >= 10 and answer[0] != 2:
                break
        return answer


@pytest.mark.parametrize(
    ("unusual", "answer"),
    [
        ({"protocol_version": 2}, AssociateReject(1, 2, 2)),
        ({"application_context": "1.2.3"}, AssociateReject(1, 1, 2)),
        ({"user": UserInformation(maximum_length=6)}, Abort(0, 0)),
    ],
    ids=["version", "application context", "maximum length"],
)
@in_loop
async def test_what_no_policy_could_accept_is_turned_down(
    unusual: dict[str, Any], answer: AssociateReject | Abort
) -> None:
    terms: dict[str, Any] = {"called_aet": "ANY", "calling_aet": "ODD", "contexts": (), "user": UserInformation()}
    request = AssociateRequest(**(terms | unusual)).encode()
    async with receiving() as (_, acceptor):
        assert await asyncio.to_thread(on_a_socket, acceptor.port, request) == answer.encode()


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        pytest.param(b"\5\0\0\0\0\4\0\0\0\0", Abort(2, 2), id="a release"),
        pytest.param(b"\4\0\0\0\0\6\0\0\0\2\1\3", Abort(2, 2), id="P-DATA"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", Abort(2, 1), id="a browser"),
        pytest.param(b"\1\0\0\0\0\2\0\1", Abort(2, 6), id="half a request"),
    ],
)
@in_loop
async def test_who_begins_with_anything_else_is_aborted(first: bytes, answer: Abort) -> None:
    async with receiving() as (_, acceptor):
        assert await asyncio.to_thread(on_a_socket, acceptor.port, first) == answer.encode()


@in_loop
async def test_who_says_nothing_is_sent_away_when_artim_expires() -> None:
    async with receiving(artim=0.3) as (_, acceptor):
        assert await asyncio.to_thread(on_a_socket, acceptor.port, b"") == b""
        assert await asyncio.to_thread(on_a_socket, acceptor.port, b"\1\0\0\0\0\xff") == b""


@in_loop
async def test_who_does_not_close_after_a_rejection_is_closed_when_artim_expires() -> None:
    request = AssociateRequest(called_aet="X", calling_aet="Y", contexts=(), user=UserInformation()).encode()

    def linger(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(100):
                answer += piece
            return answer

    async with receiving(called_aets=set(), artim=0.3) as (_, acceptor):
        assert await asyncio.to_thread(linger, acceptor.port) == AssociateReject(1, 1, 7).encode()


@in_loop
async def test_connections_without_an_association_are_limited_too() -> None:
    def crowd(port: int) -> int:
        callers = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(6)]
        try:
            turned_away = 0
            for caller in callers[4:]:
                try:
                    turned_away += caller.recv(1) == b""
                except ConnectionResetError:
                    turned_away += 1
            return turned_away
        finally:
            for caller in callers:
                caller.close()

    async with receiving(maximum_associations=2) as (_, acceptor):
        assert await asyncio.to_thread(crowd, acceptor.port) == 2


@in_loop
async def test_two_acceptors_share_a_port() -> None:
    port = free_port()
    async with receiving(reuse_port=True, port=port), receiving(reuse_port=True, port=port):
        for _ in range(8):
            async with associate(local(port), "EDGE", ECHO) as association:
                await association.echo()
