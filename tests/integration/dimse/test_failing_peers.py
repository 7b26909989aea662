"""Peers that reject, hang or break off, and how associations with them end, seen by who asked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support.dimse import (
    ECHO,
    EXPLICIT,
    IMPLICIT,
    in_loop,
    local,
    misbehaving,
    receiving,
    rejection,
    storescp,
)
from tests.support.network import eventually, free_port
from tests.support.peers import BlackHole
from tests.support.peers import Peer as PynetdicomPeer

from pacsops.dimse import (
    VERIFICATION,
    AssociationAborted,
    ConnectionLost,
    Context,
    ContextNotAccepted,
    DimseError,
    Peer,
    PeerSilent,
    PeerUnreachable,
    ProtocolViolation,
    Terms,
    Timeouts,
    associate,
    request_association,
)
from pacsops.dimse.items import UserInformation
from pacsops.dimse.pdu import (
    AnsweredContext,
    AssociateAccept,
)

SHORT = Terms(timeouts=Timeouts(connect=5, associate=5, response=0.5, close=0.2))
IMPATIENT = Terms(timeouts=Timeouts(connect=5, associate=0.5, response=5, close=0.2))


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
