"""C-STORE and C-ECHO to our side: from DCMTK and pynetdicom, and from senders that behave badly."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from tests.support.dimse import (
    CT,
    EXPLICIT,
    SYNTAXES,
    Receiver,
    Sample,
    a_sample,
    connected,
    dcmtk,
    in_loop,
    policy,
    receiving,
)
from tests.support.network import eventually

from pacsops.dimse import (
    Answer,
    Context,
    Handlers,
    Instance,
    OperationFailed,
    Refused,
    StoreRequest,
    file_meta,
    serve,
)
from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.items import OperationsWindow, UserInformation
from pacsops.dimse.p_data import fragment
from pacsops.dimse.pdu import AssociateRequest, ProposedContext

# The options by which storescu proposes them.
STORESCU = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.4.100": "-xm",
    "1.2.840.10008.1.2.4.101": "-xh",
    "1.2.840.10008.1.2.4.102": "-xn",
    "1.2.840.10008.1.2.4.103": "-xl",
    "1.2.840.10008.1.2.4.104": "-x2",
    "1.2.840.10008.1.2.4.105": "-x3",
    "1.2.840.10008.1.2.4.106": "-xo",
    "1.2.840.10008.1.2.4.107": "-x4",
    "1.2.840.10008.1.2.4.108": "-x5",
    "1.2.840.10008.1.2.5": "-xr",
}


async def storescu(port: int, *arguments: object) -> tuple[int, str]:
    return await dcmtk("storescu", "-to", 5, "-aet", "SCANNER", "127.0.0.1", port, *arguments)


async def sent_by_pynetdicom(port: int, *samples: Sample, maximum_length: int = 16382) -> list[int]:
    """The statuses it got."""

    def send() -> list[int]:
        ae = AE(ae_title="SCANNER")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 10
        for sample in samples:
            ae.add_requested_context(sample.sop_class_uid, sample.transfer_syntax_uid)
        association = ae.associate("127.0.0.1", port, max_pdu=maximum_length)
        assert association.is_established
        statuses = [association.send_c_store(sample.path).Status for sample in samples]
        association.release()
        return statuses

    return await asyncio.to_thread(send)


@pytest.mark.parametrize("syntax", STORESCU, ids=lambda uid: UID(uid).name)
@in_loop
async def test_storescu_is_received_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    sample = a_sample(tmp_path, syntax)
    async with receiving() as (receiver, acceptor):
        code, said = await storescu(acceptor.port, STORESCU[syntax], sample.path)

    assert code == 0, said
    (kept,) = receiver.kept
    assert (kept.sop_instance_uid, kept.transfer_syntax_uid) == (sample.sop_instance_uid, syntax)
    assert kept.calling_aet == "SCANNER"
    # storescu encodes the elements around the pixels anew; the pixels are what they were.
    instance = Instance(CT, kept.sop_instance_uid, kept.transfer_syntax_uid)
    received = dcmread(BytesIO(file_meta(instance) + kept.content))
    assert received.PixelData == dcmread(sample.path).PixelData


@in_loop
async def test_pynetdicom_is_received_in_every_transfer_syntax(tmp_path: Path) -> None:
    samples = [a_sample(tmp_path, syntax) for syntax in SYNTAXES]
    async with receiving() as (receiver, acceptor):
        assert await sent_by_pynetdicom(acceptor.port, *samples) == [0x0000] * len(SYNTAXES)

    assert [one.sha256 for one in receiver.kept] == [one.sha256 for one in samples]


@pytest.mark.parametrize("maximum_length", [0, 4096, 131072])
@in_loop
async def test_senders_keep_to_our_maximum(tmp_path: Path, maximum_length: int) -> None:
    sample = a_sample(tmp_path, size=(300, 300))
    async with receiving(maximum_length=maximum_length) as (receiver, acceptor):
        assert await sent_by_pynetdicom(acceptor.port, sample) == [0x0000]
        code, said = await storescu(acceptor.port, sample.path)

    assert code == 0, said
    assert [one.sha256 for one in receiver.kept] == [sample.sha256] * 2


@in_loop
async def test_answers_keep_to_the_senders_maximum(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with receiving(Receiver(Answer(0xB000, "some elements were coerced"))) as (_, acceptor):
        assert await sent_by_pynetdicom(acceptor.port, sample, maximum_length=32) == [0xB000]


@in_loop
async def test_echo_is_answered_to_dcmtk_and_pynetdicom() -> None:
    def echo(port: int) -> int:
        ae = AE()
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", port)
        status: int = association.send_c_echo().Status
        association.release()
        return status

    async with receiving() as (_, acceptor):
        assert await dcmtk("echoscu", "-to", 5, "127.0.0.1", acceptor.port) == (0, "")
        assert await asyncio.to_thread(echo, acceptor.port) == 0x0000


@in_loop
async def test_a_failure_reaches_the_sender(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with receiving(Receiver(Answer(0xA700, "full"))) as (_, acceptor):
        _, said = await storescu(acceptor.port, "-v", sample.path)

    assert "Refused: OutOfResources" in said


@in_loop
async def test_an_instance_can_be_refused_before_it_is_read(tmp_path: Path) -> None:
    sample = a_sample(tmp_path, size=(1000, 1000))

    async def refuse(_: StoreRequest) -> Answer:
        raise Refused(Answer(0xA700))

    async with serve("127.0.0.1", 0, Handlers(store=refuse), policy()) as acceptor:
        assert await sent_by_pynetdicom(acceptor.port, sample, sample) == [0xA700, 0xA700]


@in_loop
async def test_a_handler_with_a_defect_fails_one_instance_and_names_no_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = a_sample(tmp_path), a_sample(tmp_path)
    receiver = Receiver()

    async def stumble(request: StoreRequest) -> Answer:
        if request.instance.sop_instance_uid == bad.sop_instance_uid:
            raise KeyError("DOE^JANE")
        return await receiver.store(request)

    with caplog.at_level(logging.INFO):
        async with serve("127.0.0.1", 0, Handlers(store=stumble), policy()) as acceptor:
            assert await sent_by_pynetdicom(acceptor.port, bad, good) == [0x0110, 0x0000]

    assert "KeyError in the store handler" in caplog.text
    assert "DOE" not in caplog.text


@in_loop
async def test_who_only_looks_whether_the_port_is_open_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Health checks do, every ten seconds."""
    with caplog.at_level(logging.INFO, logger="pacsops.dimse"):
        async with serve("127.0.0.1", 0, Handlers(), policy()) as acceptor:
            for words in (b"", b"\x00\x07"):
                _, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
                writer.write(words)
                writer.close()
                await writer.wait_closed()
                assert (await dcmtk("echoscu", "-to", 5, "127.0.0.1", acceptor.port))[0] == 0

    assert "ended" not in caplog.text


@in_loop
async def test_what_has_no_handler_is_answered_with_a_failure(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with serve("127.0.0.1", 0, Handlers(), policy()) as acceptor:
        assert await sent_by_pynetdicom(acceptor.port, sample) == [0x0211]
        assert (await dcmtk("echoscu", "-to", 5, "127.0.0.1", acceptor.port))[0] == 0


@in_loop
async def test_a_move_is_declined_and_the_association_goes_on() -> None:
    def move(port: int) -> tuple[int, int]:
        ae = AE()
        model = "1.2.840.10008.5.1.4.1.2.2.2"
        ae.add_requested_context(model)
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", port)
        query = dcmread(Path(__file__), force=True)
        query.clear()
        query.QueryRetrieveLevel = "STUDY"
        ((status, _),) = association.send_c_move(query, "ELSEWHERE", model)
        echo = association.send_c_echo()
        association.release()
        return status.Status, echo.Status

    async with receiving() as (_, acceptor):
        assert await asyncio.to_thread(move, acceptor.port) == (0x0211, 0x0000)


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2.3/4", "", "1" * 65, "1.2.\\3"])
@in_loop
async def test_a_uid_that_is_none_reaches_no_handler(uid: str) -> None:
    file = file_meta(Instance(CT, uid, EXPLICIT)) + bytes(100)
    async with connected([Context(CT, [EXPLICIT])]) as (association, receiver):
        with pytest.raises(OperationFailed) as failed:
            await association.store(file)
        assert association.ended is None

    assert (failed.value.status, receiver.begun) == (0x0117, 0)


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
async def test_an_abort_in_the_middle_of_storescus_work_harms_nobody(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with receiving() as (receiver, acceptor):
        await storescu(acceptor.port, "--abort", sample.path)
        assert await sent_by_pynetdicom(acceptor.port, sample) == [0x0000]

    assert len(receiver.kept) == 2


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
