"""Associations begin, are refused, and end, in words both sides understand."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]
from tests.support.dimse import (
    CT,
    EXPLICIT,
    IMPLICIT,
    SYNTAXES,
    connected,
    dcmtk,
    in_loop,
    local,
    misbehaving,
    receiving,
    storescp,
)
from tests.support.network import eventually, free_port
from tests.support.peers import BlackHole
from tests.support.peers import Peer as PynetdicomPeer

from pacsops.dimse import (
    VERIFICATION,
    AssociationAborted,
    AssociationRejected,
    ConnectionLost,
    Context,
    ContextNotAccepted,
    DimseError,
    ExtendedNegotiation,
    Peer,
    PeerSilent,
    PeerUnreachable,
    ProtocolViolation,
    Terms,
    Timeouts,
    UserIdentity,
    associate,
    request_association,
)
from pacsops.dimse.items import Role, UserInformation
from pacsops.dimse.pdu import (
    Abort,
    AnsweredContext,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    PduType,
    decode,
)

ECHO = [Context(VERIFICATION)]
SHORT = Terms(timeouts=Timeouts(connect=5, associate=5, response=0.5, close=0.2))
IMPATIENT = Terms(timeouts=Timeouts(connect=5, associate=0.5, response=5, close=0.2))


async def rejection(port: int, *, called: str = "ANY", calling: str = "EDGE", terms: Terms | None = None) -> Any:
    with pytest.raises(AssociationRejected) as rejected:
        async with associate(local(port, called), calling, ECHO, terms):
            pass
    error = rejected.value
    return error.result, error.source, error.reason, str(error)


# refusals


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


# contexts


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
        contexts=(),
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


# peers that fail us


@in_loop
async def test_the_ways_not_to_get_a_connection() -> None:
    port = free_port()
    with pytest.raises(PeerUnreachable, match=f"nothing listens on port {port} of 127.0.0.1") as refused:
        await request_association(local(port), "EDGE", ECHO)
    with pytest.raises(PeerUnreachable, match=r"host name modlink.invalid is unknown") as unknown:
        await request_association(Peer("modlink.invalid", 104, "ANY"), "EDGE", ECHO)

    assert (refused.value.kind, unknown.value.kind) == ("refused", "unreachable")


@in_loop
async def test_a_peer_that_accepts_connections_and_says_nothing_is_left() -> None:
    with (
        BlackHole() as silent,
        pytest.raises(PeerSilent, match=r"no answer to the association request within 0\.5 s"),
    ):
        await request_association(local(silent.port), "EDGE", ECHO, IMPATIENT)


@in_loop
async def test_dcmtks_refusal_is_given_in_words(tmp_path: Path) -> None:
    async with storescp(tmp_path, "--refuse") as port:
        assert (await rejection(port))[3] == "No reason given (rejected permanent, by service user)"


def test_pynetdicoms_refusal_is_given_in_words() -> None:
    @in_loop
    async def ask() -> None:
        assert (await rejection(peer.port))[:3] == (1, 1, 7)

    with PynetdicomPeer(rejects=True) as peer:
        ask()


def accepting(*then: bytes, user: UserInformation | None = None) -> Any:
    """A peer that accepts Verification, and then says `then`."""

    def behave(connection: socket.socket) -> None:
        connection.recv(10_000)
        acceptance = AssociateAccept(
            called_aet="ANY",
            calling_aet="EDGE",
            contexts=(AnsweredContext(1, 0, EXPLICIT),),
            user=user or UserInformation(maximum_length=16384),
        )
        connection.sendall(acceptance.encode())
        for said in then:
            connection.recv(10_000)
            connection.sendall(said)
        while connection.recv(10_000):
            pass

    return misbehaving(behave)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        pytest.param(b"\7\0\0\0\0\4\0\0\0\0", AssociationAborted, "the peer's application aborted", id="its user"),
        pytest.param(b"\7\0\0\0\0\4\0\0\2\2", AssociationAborted, "network layer .* unexpected PDU", id="its layer"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", ProtocolViolation, "PDU type 53H is unknown", id="another service"),
        pytest.param(b"\2\0\0\0\0\1\0", ProtocolViolation, "an association PDU is cut off", id="half an acceptance"),
        pytest.param(b"\6\0\0\0\0\4\0\0\0\0", ProtocolViolation, "ReleaseResponse out of turn", id="out of turn"),
        pytest.param(b"", ConnectionLost, "closed the connection", id="hangs up"),
    ],
)
@in_loop
async def test_what_is_no_answer_to_an_association_request(
    answer: bytes, error: type[DimseError], message: str
) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(answer)
        if answer:
            while connection.recv(10_000):
                pass

    with misbehaving(behave) as port, pytest.raises(error, match=message):
        await request_association(local(port), "EDGE", ECHO, SHORT)


@in_loop
async def test_a_peer_that_takes_no_pdu_worth_sending_is_left() -> None:
    with (
        accepting(user=UserInformation(maximum_length=6)) as port,
        pytest.raises(ProtocolViolation, match="nothing fits"),
    ):
        await request_association(local(port), "EDGE", ECHO, SHORT)


@in_loop
async def test_contexts_accepted_in_a_syntax_never_proposed_are_not_used() -> None:
    with accepting() as port:
        async with associate(local(port), "EDGE", [Context(VERIFICATION, [IMPLICIT])], SHORT) as association:
            with pytest.raises(ContextNotAccepted):
                await association.echo()


@in_loop
async def test_an_echo_never_answered_is_a_timeout() -> None:
    with accepting() as port, pytest.raises(PeerSilent, match=r"no answer to C-ECHO within 0\.5 s"):
        async with associate(local(port), "EDGE", ECHO, SHORT) as association:
            await association.echo()


@in_loop
async def test_a_release_by_the_peer_is_answered() -> None:
    answers: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        connection.recv(10_000)
        acceptance = AssociateAccept(
            called_aet="ANY", calling_aet="EDGE", contexts=(AnsweredContext(1, 0, EXPLICIT),), user=UserInformation()
        )
        connection.sendall(acceptance.encode() + b"\5\0\0\0\0\4\0\0\0\0")
        answers.append(connection.recv(10_000))

    with misbehaving(behave) as port:
        association = await request_association(local(port), "EDGE", ECHO, SHORT)
        with pytest.raises(DimseError, match="the peer released the association"):
            while True:
                await asyncio.sleep(0)
                if association.ended is not None:
                    await association.echo()
        await association.release()

    assert answers == [b"\6\0\0\0\0\4\0\0\0\0"]


@in_loop
async def test_two_releases_that_cross_end_in_order() -> None:
    """PS3.8 9.2: AR-8, AR-9 and AR-3 of the requestor."""
    heard = b""

    def behave(connection: socket.socket) -> None:
        nonlocal heard
        connection.recv(10_000)
        acceptance = AssociateAccept(
            called_aet="ANY", calling_aet="EDGE", contexts=(AnsweredContext(1, 0, EXPLICIT),), user=UserInformation()
        )
        connection.sendall(acceptance.encode())
        heard += connection.recv(10)
        connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        heard += connection.recv(10)
        connection.sendall(b"\6\0\0\0\0\4\0\0\0\0")
        heard += connection.recv(10)

    with misbehaving(behave) as port:
        association = await request_association(local(port), "EDGE", ECHO, SHORT)
        await association.release()
        assert str(association.ended) == "the association was released"

    assert heard == b"\5\0\0\0\0\4\0\0\0\0" + b"\6\0\0\0\0\4\0\0\0\0"


@in_loop
async def test_a_release_that_is_never_answered_ends_in_an_abort() -> None:
    with accepting() as port:
        async with associate(local(port), "EDGE", ECHO, IMPATIENT) as association:
            pass

    assert association.ended is not None


@in_loop
async def test_an_exception_of_the_caller_aborts() -> None:
    async with receiving() as (_, acceptor):
        with pytest.raises(KeyError):
            async with associate(local(acceptor.port), "EDGE", ECHO):
                raise KeyError
        await asyncio.to_thread(eventually, lambda: not acceptor.associations)


@in_loop
async def test_an_acceptor_that_ends_aborts_who_is_there() -> None:
    async with receiving() as (_, acceptor):
        association = await request_association(local(acceptor.port), "EDGE", ECHO)

    with pytest.raises(AssociationAborted):
        await association.echo()
    await association.release()


@in_loop
async def test_two_acceptors_share_a_port() -> None:
    port = free_port()
    async with receiving(reuse_port=True, port=port), receiving(reuse_port=True, port=port):
        for _ in range(8):
            async with associate(local(port), "EDGE", ECHO) as association:
                await association.echo()
