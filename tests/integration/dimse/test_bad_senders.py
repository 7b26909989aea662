"""Senders that decide about each byte: what is odd and allowed is taken, what is not ends the association."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from tests.support.dimse import (
    CT,
    EXPLICIT,
    Receiver,
    in_loop,
    receiving,
)
from tests.support.network import eventually

from pacsops.dimse import (
    Answer,
    StoreRequest,
)
from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.items import OperationsWindow, UserInformation
from pacsops.dimse.p_data import fragment
from pacsops.dimse.pdu import AssociateRequest, ProposedContext


class Scanner:
    """A sender on a plain socket, with an association: it decides about each byte."""

    def __init__(self, port: int, **user: Any) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        request = AssociateRequest(
            called_aet="ANY",
            calling_aet="SCANNER",
            contexts=(ProposedContext(1, CT, (EXPLICIT,)),),
            user=UserInformation(maximum_length=16384, implementation_class_uid="1.2.3", **user),
        )
        self.socket.sendall(request.encode())
        assert self.read()[0] == 2

    def read(self) -> bytes:
        """The next PDU; empty when the connection is closed."""
        header = self._exactly(6)
        return header + self._exactly(int.from_bytes(header[2:], "big")) if header else b""

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.socket.recv(size - len(content))
            if not piece:
                return b""
            content += piece
        return content

    def store(self, message_id: int = 1) -> bytes:
        """A C-STORE-RQ, whose data set is to follow."""
        command = Command(
            field=Operation.C_STORE,
            sop_class_uid=CT,
            message_id=message_id,
            priority=0,
            data_set=True,
            sop_instance_uid="1.2.3",
        )
        return fragment(1, True, command.encode(), 16384)

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)


async def with_scanner(receiver: Receiver, act: Any, *, user: dict[str, Any] | None = None, **terms: Any) -> Any:
    """`act(scanner)` in a thread, against a receiver. `user` is said besides in the association request."""

    def run(port: int) -> Any:
        scanner = Scanner(port, **(user or {}))
        with scanner.socket:
            return act(scanner)

    async with receiving(receiver, **terms) as (_, acceptor):
        done = await asyncio.to_thread(run, acceptor.port)
        await asyncio.to_thread(eventually, lambda: not acceptor.associations, what="the association ending")
        return done


@in_loop
async def test_fragments_of_any_size_make_the_same_data_set() -> None:
    receiver = Receiver()

    def act(scanner: Scanner) -> bytes:
        content = bytes(range(256)) * 16
        pdvs = b"".join(
            struct.pack(">IBB", 2 + len(piece), 1, 0) + piece
            for piece in (content[:1], b"", content[1:1000], content[1000:4095])
        )
        last = struct.pack(">IBB", 3, 1, 2) + content[4095:]
        pdu = struct.pack(">BxI", 4, len(pdvs)) + pdvs + struct.pack(">BxI", 4, 0)
        for byte in scanner.store() + pdu + struct.pack(">BxI", 4, len(last)) + last:
            scanner.send(bytes([byte]))
        return scanner.read()

    answer = await with_scanner(receiver, act)

    assert Command.decode(answer[12:]).status == 0x0000
    assert receiver.kept[0].length == 4096


@in_loop
async def test_a_pdu_longer_than_we_offered_is_taken_nevertheless() -> None:
    receiver = Receiver()

    def act(scanner: Scanner) -> bytes:
        scanner.send(scanner.store() + fragment(1, False, bytes(1_000_000), 1_000_006))
        return scanner.read()

    answer = await with_scanner(receiver, act, maximum_length=4096)

    assert Command.decode(answer[12:]).status == 0x0000
    assert receiver.kept[0].length == 1_000_000


@pytest.mark.parametrize(
    ("violation", "reason"),
    [
        pytest.param(b"\x99\0\0\0\0\4abcd", 1, id="an unknown PDU"),
        pytest.param(b"\1\0\xff\xff\xff\xff", 6, id="an association request of 4 GB"),
        pytest.param(b"\5\0\0\0\0\xff" + bytes(255), 6, id="a release of 255 bytes"),
        pytest.param(b"\2\0\0\0\0\x44\0\1" + bytes(66), 2, id="an acceptance out of turn"),
        pytest.param(b"\4\0\0\0\0\6\xff\xff\xff\xff\1\3", 6, id="a value longer than its PDU"),
        pytest.param(b"\4\0\0\0\0\6\0\0\0\1\1\3", 6, id="a value without a header"),
        pytest.param(fragment(1, False, b"data", 16384), 6, id="a data set without a command"),
        pytest.param(fragment(3, True, b"command", 16384), 6, id="a context nobody accepted"),
        pytest.param(fragment(1, True, b"no command", 16384), 6, id="no command set"),
        pytest.param(fragment(1, True, bytes(100_000), 16384), 6, id="a command set without an end"),
        pytest.param(
            fragment(1, True, Command(field=0x8001, responded_to=1, status=0).encode(), 16384),
            2,
            id="an answer to nothing",
        ),
    ],
)
@in_loop
async def test_a_violation_is_answered_by_an_abort_with_its_reason(violation: bytes, reason: int) -> None:
    def act(scanner: Scanner) -> bytes:
        scanner.send(violation)
        return scanner.read()

    assert await with_scanner(Receiver(), act) == bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, reason))


@in_loop
async def test_a_release_in_the_middle_of_an_instance_is_a_violation() -> None:
    receiver = Receiver()

    def act(scanner: Scanner) -> bytes:
        scanner.send(scanner.store() + b"\5\0\0\0\0\4\0\0\0\0")
        return scanner.read()

    assert (await with_scanner(receiver, act))[0] == 7
    assert (receiver.begun, receiver.broken, receiver.kept) == (1, 1, [])


@pytest.mark.parametrize("how", ["close", "abort", "silence"])
@in_loop
async def test_half_an_instance_is_never_taken_for_a_whole_one(how: str) -> None:
    receiver = Receiver()

    def act(scanner: Scanner) -> None:
        scanner.send(scanner.store() + fragment(1, False, bytes(50_000), 16384)[:40_000])
        if how == "abort":
            scanner.send(b"\7\0\0\0\0\4\0\0\0\0")
        elif how == "silence":
            assert scanner.read()[0] == 7

    await with_scanner(receiver, act, patience=0.3)

    assert (receiver.begun, receiver.broken, receiver.kept) == (1, 1, [])


@in_loop
async def test_an_idle_peer_is_sent_away() -> None:
    def act(scanner: Scanner) -> bytes:
        return scanner.read()

    assert (await with_scanner(Receiver(), act, idle=0.3))[0] == 7


@in_loop
async def test_the_same_message_id_twice_at_a_time_is_refused() -> None:
    refused = asyncio.Event()

    class Slow(Receiver):
        async def store(self, request: StoreRequest) -> Answer:
            answer = await super().store(request)
            await refused.wait()
            return answer

    loop = asyncio.get_running_loop()

    def act(scanner: Scanner) -> list[int | None]:
        scanner.send((scanner.store(7) + fragment(1, False, bytes(100), 16384)) * 2)
        first = Command.decode(scanner.read()[12:]).status
        loop.call_soon_threadsafe(refused.set)
        return [first, Command.decode(scanner.read()[12:]).status]

    receiver = Slow()
    assert await with_scanner(receiver, act, user={"window": OperationsWindow(4, 1)}) == [0x0210, 0x0000]
    assert len(receiver.kept) == 1


@in_loop
async def test_a_release_waits_for_answers_that_are_owed() -> None:
    loop = asyncio.get_running_loop()
    released = asyncio.Event()

    class Slow(Receiver):
        async def store(self, request: StoreRequest) -> Answer:
            answer = await super().store(request)
            await released.wait()
            return answer

    def act(scanner: Scanner) -> list[int]:
        instance = fragment(1, False, bytes(100), 16384)
        scanner.send(scanner.store(7) + instance + scanner.store(8) + instance + b"\5\0\0\0\0\4\0\0\0\0")
        loop.call_soon_threadsafe(released.set)
        return [scanner.read()[0] for _ in range(3)]

    assert await with_scanner(Slow(), act, user={"window": OperationsWindow(4, 1)}) == [4, 4, 6]
