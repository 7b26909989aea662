"""What was promised of the gateway's studies arrives: byte for byte, on few associations, in whatever encoding."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.support.dimse import SYNTAXES, a_sample, in_loop, receiving, storescp
from tests.support.forwarding import ForwardingSite, images, uid_of
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Held, Peer

from pacsops.delivery import desk
from pacsops.delivery.model import Event, Status
from pacsops.dicom.synthetic import part10
from pacsops.dimse import StoredInstance, UnreadableFile
from pacsops.sending import associations


def digest(content: bytes) -> str:
    """Of the data set of a DICOM file."""
    with StoredInstance(content) as stored:
        return hashlib.sha256(content[stored.offset :]).hexdigest()


def pydicoms_files() -> list[bytes]:
    """Those of pydicom's test files that say what they are in valid words, one of each SOP instance UID."""
    found: dict[str, bytes] = {}
    for path in sorted((Path(str(pydicom.__file__)).parent / "data" / "test_files").rglob("*.dcm")):
        content = path.read_bytes()
        try:
            with StoredInstance(content) as stored:
                found[stored.instance.sop_instance_uid] = content
        except UnreadableFile:
            continue
    return [content for uid, content in found.items() if UID(uid).is_valid]


def test_every_image_of_a_study_arrives_on_one_association(forwarding: ForwardingSite) -> None:
    datasets = images(20, "CT", "SR")
    with Peer("PACS") as peer:
        pacs = forwarding.destination("PACS", peer)
        number = forwarding.promise(pacs, forwarding.receive(datasets))
        forwarding.start()

        delivery = forwarding.wait_for(number, Status.SUCCESS)

        assert peer.uids == [uid_of(dataset) for dataset in datasets]  # as they came in
        assert {one.sha256 for one in peer.received} == {digest(part10(dataset)) for dataset in datasets}
        assert {one.calling_aet for one in peer.received} == {"GATEWAY"}
        assert peer.associations - peer.echoes == 1
    assert (delivery.delivered_count, delivery.attempt_count) == (40, 1)
    told = [event.event for event in desk.timeline(forwarding.database, "1.2.3")]
    assert told == [Event.ROUTE_MATCHED, Event.SEND_STARTED, Event.SEND_SUCCESS]


def test_pydicoms_files_arrive_byte_for_byte_at_our_own_acceptor(forwarding: ForwardingSite) -> None:
    files = pydicoms_files()
    assert len(files) > 40
    numbers = [forwarding.receive_file(content, "1.2.3") for content in files]

    @in_loop
    async def receive() -> None:
        async with receiving(window=8) as (receiver, acceptor):
            delivery = forwarding.promise(forwarding.address("PACS", acceptor.port), numbers)
            forwarding.start()
            await _arrive(forwarding, delivery)
            assert sorted(one.sha256 for one in receiver.kept) == sorted(digest(content) for content in files)

    receive()


async def _arrive(forwarding: ForwardingSite, delivery: int) -> None:
    await asyncio.to_thread(forwarding.wait_for, delivery, Status.SUCCESS)


def test_storescp_gets_every_transfer_syntax_it_knows_and_is_told_to_lack_the_others(
    forwarding: ForwardingSite, tmp_path: Path
) -> None:
    received = tmp_path / "received"
    received.mkdir()
    samples = [a_sample(tmp_path, syntax) for syntax in SYNTAXES]
    numbers = [forwarding.receive_file(sample.path.read_bytes(), "1.2.3") for sample in samples]

    @in_loop
    async def receive() -> None:
        async with storescp(received, "+xa") as port:
            delivery = forwarding.promise(forwarding.address("PACS", port), numbers)
            forwarding.start()
            stuck = await asyncio.to_thread(forwarding.wait_for, delivery, Status.STUCK)
            assert stuck.last_error_class == "no-presentation-context"
            assert stuck.delivered_count == len(list(received.iterdir())) >= 21  # those DCMTK 3.6.7 knows

    receive()
    assert {digest(path.read_bytes()) for path in received.iterdir()} <= {one.sha256 for one in samples}


def test_orthanc_takes_what_is_forwarded(forwarding: ForwardingSite, orthanc: OrthancServer) -> None:
    number = forwarding.promise(
        forwarding.address("PACS", orthanc.dicom_port, orthanc.aet), forwarding.receive(images(5, "CT", "MR"))
    )
    forwarding.start()

    forwarding.wait_for(number, Status.SUCCESS)
    assert orthanc.client.get("/statistics")["CountInstances"] == 10


def test_deliveries_share_associations_while_there_is_something_to_send(forwarding: ForwardingSite) -> None:
    with Peer("PACS") as peer:
        pacs = forwarding.destination("PACS", peer, associations=2)
        numbers = [forwarding.promise(pacs, forwarding.receive(images(1)), study=f"1.2.{n}") for n in range(30)]
        forwarding.start()
        for number in numbers:
            forwarding.wait_for(number, Status.SUCCESS)

        assert peer.associations - peer.echoes <= 3
        assert peer.most_at_once <= 3  # the echo's besides


def test_an_idle_association_is_released(forwarding: ForwardingSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(associations, "IDLE_SECONDS", 0.5)
    with Peer("PACS") as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(images(1)))
        forwarding.start()
        forwarding.wait_for(number, Status.SUCCESS)

        eventually(lambda: peer._open == 0, what="the association being released")


def test_a_peer_that_hung_up_an_idle_association_costs_no_attempt(forwarding: ForwardingSite) -> None:
    with Peer("PACS") as peer:
        pacs = forwarding.destination("PACS", peer)
        forwarding.start()
        forwarding.wait_for(forwarding.promise(pacs, forwarding.receive(images(1)), study="1.2.1"), Status.SUCCESS)
        peer.stop()
        peer.start()

        number = forwarding.promise(pacs, forwarding.receive(images(1)), study="1.2.2")

        assert forwarding.wait_for(number, Status.SUCCESS).attempt_count == 1
    assert Event.SEND_FAILED not in [event.event for event in desk.timeline(forwarding.database, "1.2.2")]


def test_what_a_promise_grows_by_goes_out_with_the_same_claim(forwarding: ForwardingSite) -> None:
    first, later = images(2), images(3)
    held = Held()
    with Peer("PACS", status=held) as peer:
        pacs = forwarding.destination("PACS", peer)
        before = forwarding.receive(first)
        number = forwarding.promise(pacs, before)
        forwarding.start()
        assert held.begun.wait(10)
        forwarding.promise(pacs, forwarding.receive(later))
        held.give()

        delivery = forwarding.wait_for(number, Status.SUCCESS)

        assert sorted(peer.uids) == sorted(uid_of(dataset) for dataset in [*first, *later])
        assert peer.associations - peer.echoes == 1
    assert delivery.delivered_count == 5
    told = [event.event for event in desk.timeline(forwarding.database, "1.2.3")]
    assert told.count(Event.SEND_STARTED) == told.count(Event.SEND_SUCCESS) == 1


def test_a_kept_promise_that_grows_sends_only_what_is_new(forwarding: ForwardingSite) -> None:
    with Peer("PACS") as peer:
        pacs = forwarding.destination("PACS", peer)
        forwarding.start()
        number = forwarding.promise(pacs, forwarding.receive(images(2)))
        forwarding.wait_for(number, Status.SUCCESS)
        late: list[Dataset] = images(1)
        forwarding.promise(pacs, forwarding.receive(late))
        eventually(lambda: len(peer.received) == 3)

        forwarding.wait_for(number, Status.SUCCESS)
        assert peer.uids[2:] == [uid_of(late[0])]


def test_a_forwarder_that_stops_gives_back_what_it_holds(forwarding: ForwardingSite) -> None:
    datasets = images(3)
    held = Held()
    with Peer("PACS", status=held) as peer:
        pacs = forwarding.destination("PACS", peer)
        number = forwarding.promise(pacs, forwarding.receive(datasets))
        forwarding.start()
        assert held.begun.wait(10)
        began = time.monotonic()
        forwarding.stop()
        assert time.monotonic() - began < 15

        delivery = forwarding.delivery(number)
        assert (delivery.status, delivery.attempt_count, delivery.last_error_class) == (Status.PENDING, 0, "gateway")
        held.give()
        forwarding.start()

        forwarding.wait_for(number, Status.SUCCESS)
        assert set(peer.uids) == {uid_of(dataset) for dataset in datasets}
