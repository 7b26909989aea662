"""C-STORE and C-ECHO to our side, from DCMTK and pynetdicom."""

from __future__ import annotations

import asyncio
import logging
from io import BytesIO
from pathlib import Path

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


@in_loop
async def test_an_abort_in_the_middle_of_storescus_work_harms_nobody(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with receiving() as (receiver, acceptor):
        await storescu(acceptor.port, "--abort", sample.path)
        assert await sent_by_pynetdicom(acceptor.port, sample) == [0x0000]

    assert len(receiver.kept) == 2
