"""C-STORE from our side: DCMTK, pynetdicom, Orthanc and ourselves receive every byte, or we say why not."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, MRImageStorage
from tests.support.dimse import (
    CT,
    EXPLICIT,
    IMPLICIT,
    SYNTAXES,
    Receiver,
    Sample,
    a_sample,
    connected,
    in_loop,
    local,
    receiving,
    storescp,
)
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer as PynetdicomPeer

from pacsops.dimse import (
    VERIFICATION,
    Answer,
    AssociationEnded,
    ConnectionLost,
    Context,
    ContextNotAccepted,
    DimseError,
    Instance,
    OperationFailed,
    PeerSilent,
    StoredInstance,
    StoreRequest,
    Terms,
    Timeouts,
    UnreadableFile,
    associate,
    contexts_to_store,
    request_association,
)
from pacsops.dimse.part10 import file_meta


def contexts(*samples: Sample) -> list[Context]:
    return contexts_to_store(
        Instance(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid) for one in samples
    )


def digest_of(path: Path) -> str:
    """Of the data set of a file."""
    with StoredInstance(path) as stored:
        return hashlib.sha256(path.read_bytes()[stored.offset :]).hexdigest()


@in_loop
async def test_storescp_gets_every_transfer_syntax_byte_for_byte(tmp_path: Path) -> None:
    received = tmp_path / "received"
    received.mkdir()
    samples = [a_sample(tmp_path, syntax) for syntax in SYNTAXES]
    async with storescp(received, "+xa") as port, associate(local(port), "EDGE", contexts(*samples)) as association:
        taken = [one for one in samples if _takes(association.agreed.accepted, one)]
        for sample in taken:
            assert (await association.store(sample.path)).status == 0x0000

    assert len(taken) >= 21  # those DCMTK 3.6.7 knows
    assert {digest_of(path) for path in received.iterdir()} == {one.sha256 for one in taken}


def _takes(accepted: object, sample: Sample) -> bool:
    assert isinstance(accepted, dict)
    return (sample.sop_class_uid, sample.transfer_syntax_uid) in accepted.values()


def test_pynetdicom_gets_every_transfer_syntax_byte_for_byte(tmp_path: Path) -> None:
    samples = [a_sample(tmp_path, syntax) for syntax in SYNTAXES]

    @in_loop
    async def send_all() -> None:
        async with associate(local(peer.port), "EDGE", contexts(*samples)) as association:
            for sample in samples:
                await association.store(sample.path)

    with PynetdicomPeer() as peer:
        send_all()

    assert {(one.transfer_syntax, one.sha256) for one in peer.received} == {
        (one.transfer_syntax_uid, one.sha256) for one in samples
    }
    assert len(peer.received) == len(SYNTAXES)


def test_orthanc_takes_what_we_send(orthanc: OrthancServer, tmp_path: Path) -> None:
    samples = [a_sample(tmp_path) for _ in range(5)]

    @in_loop
    async def send_all() -> None:
        peer = local(orthanc.dicom_port, orthanc.aet)
        async with associate(peer, "EDGE", [*contexts(*samples), Context(VERIFICATION)]) as association:
            await association.echo()
            for sample in samples:
                await association.store(sample.path.read_bytes())

    send_all()

    assert orthanc.client.get("/statistics")["CountInstances"] == 5


@pytest.mark.parametrize("maximum_length", [0, 128, 4096, 16384, 1 << 20])
@in_loop
async def test_no_pdu_is_longer_than_the_peer_takes(tmp_path: Path, maximum_length: int) -> None:
    sample = a_sample(tmp_path, size=(300, 301))
    async with connected(contexts(sample), maximum_length=maximum_length) as (association, receiver):
        assert association.agreed.maximum_length == maximum_length
        await association.store(sample.path)

    assert [one.sha256 for one in receiver.kept] == [sample.sha256]


@pytest.mark.parametrize("length", [0, 8, 4090, 4091, 128 * 4090, 128 * 4090 + 1, 700_000])
@in_loop
async def test_data_sets_of_every_length_arrive(length: int) -> None:
    content = bytes(range(256)) * (length // 256 + 1)
    file = file_meta(Instance(CT, "1.2.3", EXPLICIT)) + content[:length]
    async with connected([Context(CT, [EXPLICIT])], maximum_length=4096) as (association, receiver):
        await association.store(file)

    assert [(one.length, one.sha256) for one in receiver.kept] == [
        (length, hashlib.sha256(content[:length]).hexdigest())
    ]


@in_loop
async def test_within_an_operations_window_answers_are_not_waited_for(tmp_path: Path) -> None:
    samples = [a_sample(tmp_path) for _ in range(8)]
    all_there = asyncio.Event()

    class Patient(Receiver):
        async def store(self, request: StoreRequest) -> Answer:
            answer = await super().store(request)
            if len(self.kept) == len(samples):
                all_there.set()
            await all_there.wait()
            return answer

    async with connected(contexts(*samples), Patient(), window=8, terms=Terms(window=8)) as (association, receiver):
        assert association.agreed.window == 8
        await asyncio.gather(*(association.store(one.path) for one in samples))

    assert {one.sha256 for one in receiver.kept} == {one.sha256 for one in samples}


@in_loop
async def test_thousands_of_stores_may_be_started_at_once(tmp_path: Path) -> None:
    """More than there may be open files (usually 1024)."""
    sample = a_sample(tmp_path)
    async with connected(contexts(sample)) as (association, receiver):
        await asyncio.gather(*(association.store(sample.path) for _ in range(1500)))

    assert len(receiver.kept) == 1500


def test_a_peer_without_a_window_gets_one_at_a_time(tmp_path: Path) -> None:
    samples = [a_sample(tmp_path) for _ in range(4)]

    @in_loop
    async def send_all() -> None:
        terms = Terms(window=16)
        async with associate(local(peer.port), "EDGE", contexts(*samples), terms) as association:
            assert association.agreed.window == 1
            await asyncio.gather(*(association.store(one.path) for one in samples))

    with PynetdicomPeer() as peer:
        send_all()

    assert sorted(one.sha256 for one in peer.received) == sorted(one.sha256 for one in samples)


@in_loop
async def test_a_failure_is_given_with_the_peers_words(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with connected(contexts(sample), Receiver(Answer(0xA700, "the disk is full"))) as (association, _):
        with pytest.raises(OperationFailed) as failed:
            await association.store(sample.path)
        assert association.ended is None

    assert str(failed.value) == 'C-STORE answered with status 0xA700, out of resources "the disk is full"'
    assert (failed.value.kind, failed.value.status) == ("out-of-resources", 0xA700)


@in_loop
async def test_a_warning_is_no_failure(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    async with connected(contexts(sample), Receiver(Answer(0xB000))) as (association, _):
        answer = await association.store(sample.path)

    assert (answer.status, answer.category) == (0xB000, "warning")


def test_a_sop_class_the_peer_does_not_know_is_named(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)

    @in_loop
    async def send() -> None:
        wanted = [*contexts(sample), Context(VERIFICATION)]
        async with associate(local(peer.port), "EDGE", wanted) as association:
            with pytest.raises(ContextNotAccepted, match=f"{CT} in {EXPLICIT}: the peer does not know the SOP class"):
                await association.store(sample.path)
            await association.echo()

    with PynetdicomPeer(sop_classes=[MRImageStorage]) as peer:
        send()

    assert CTImageStorage == CT


@in_loop
async def test_a_transfer_syntax_the_peer_does_not_take_is_named(tmp_path: Path) -> None:
    sample = a_sample(tmp_path, EXPLICIT)
    async with connected(contexts(sample), transfer_syntaxes=lambda _: [IMPLICIT]) as (association, _):
        with pytest.raises(ContextNotAccepted, match="the peer takes it in no transfer syntax proposed"):
            await association.store(sample.path)


@in_loop
async def test_no_dicom_file_harms_nobody_else(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear colleague")
    async with connected(contexts(sample)) as (association, receiver):
        with pytest.raises(UnreadableFile, match=r"letter.txt is no DICOM file"):
            await association.store(letter)
        await association.store(sample.path)

    assert len(receiver.kept) == 1


@in_loop
async def test_a_file_that_shrinks_while_it_is_sent_is_not_taken_for_whole(tmp_path: Path) -> None:
    sample = a_sample(tmp_path, size=(2000, 2000))
    async with receiving() as (receiver, acceptor):
        with pytest.raises(UnreadableFile, match="shorter"), StoredInstance(sample.path) as stored:
            async with associate(local(acceptor.port), "EDGE", contexts(sample)) as association:
                with sample.path.open("r+b") as file:
                    file.truncate(3_000_000)
                await association.store(stored)

    assert (receiver.kept, receiver.begun) == ([], 1)


@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
@in_loop
async def test_an_abort_by_the_peer_says_so_at_once(tmp_path: Path, option: str) -> None:
    sample = a_sample(tmp_path, size=(1000, 1000))
    async with storescp(tmp_path, option) as port:
        with pytest.raises(DimseError) as aborted:
            async with associate(local(port), "EDGE", contexts(sample)) as association:
                await association.store(sample.path)

    assert aborted.value.kind == "aborted"


def test_a_peer_that_drops_the_connection_before_its_answer(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)

    @in_loop
    async def send() -> None:
        async with associate(local(peer.port), "EDGE", contexts(sample)) as association:
            await association.store(sample.path)

    with PynetdicomPeer(drops=True) as peer, pytest.raises(ConnectionLost, match="closed the connection"):
        send()


@in_loop
async def test_a_slow_peer_within_its_time_is_waited_for(tmp_path: Path) -> None:
    sample = a_sample(tmp_path, size=(300, 300))
    received = tmp_path / "received"
    received.mkdir()
    async with (
        storescp(received, "--sleep-after", 1) as port,
        associate(local(port), "EDGE", contexts(sample)) as association,
    ):
        await association.store(sample.path)

    assert len(list(received.iterdir())) == 1


class Hanging(Receiver):
    """Takes an instance and does not answer."""

    async def store(self, request: StoreRequest) -> Answer:
        await super().store(request)
        await asyncio.Event().wait()
        raise AssertionError


@in_loop
async def test_a_peer_that_never_answers_is_left(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    terms = Terms(timeouts=Timeouts(response=0.5, close=0.2))
    async with receiving(Hanging()) as (receiver, acceptor):
        with pytest.raises(PeerSilent, match=r"no answer to C-STORE within 0.5 s"):
            async with associate(local(acceptor.port), "EDGE", contexts(sample), terms) as association:
                await association.store(sample.path)

    assert len(receiver.kept) == 1


@in_loop
async def test_a_peer_that_stops_taking_bytes_is_left(tmp_path: Path) -> None:
    sample = a_sample(tmp_path, size=(4000, 4000))

    class Full(Receiver):
        async def store(self, request: StoreRequest) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    terms = Terms(timeouts=Timeouts(response=0.5, close=0.2))
    async with receiving(Full()) as (_, acceptor):
        with pytest.raises(PeerSilent, match=r"the peer took nothing for 0\.5 s"):
            async with associate(local(acceptor.port), "EDGE", contexts(sample), terms) as association:
                await association.store(sample.path)


@in_loop
async def test_a_cancelled_store_ends_the_association(tmp_path: Path) -> None:
    sample = a_sample(tmp_path)
    terms = Terms(timeouts=Timeouts(close=0.2))
    async with connected(contexts(sample), Hanging(), terms=terms) as (association, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await association.store(sample.path)
        assert association.ended is not None
        with pytest.raises(DimseError, match="aborted here"):
            await association.store(sample.path)


@in_loop
async def test_a_peer_that_hangs_up_while_idle_is_noticed(tmp_path: Path) -> None:
    async with storescp(tmp_path) as port:
        association = await request_association(local(port), "EDGE", [Context(VERIFICATION)])
        await association.echo()
        assert association.ended is None

    with pytest.raises(ConnectionLost):
        await association.echo()
    assert association.ended is not None
    await association.release()


@in_loop
async def test_an_association_that_is_over_says_why_to_whoever_asks_again(tmp_path: Path) -> None:
    async with connected([Context(VERIFICATION)]) as (association, _):
        await association.release()

        with pytest.raises(AssociationEnded, match="was released"):
            await association.echo()
