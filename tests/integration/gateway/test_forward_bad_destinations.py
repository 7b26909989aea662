"""Destinations that are away, refuse, hang up, crawl or dislike single images: nothing else waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import BasicTextSRStorage, CTImageStorage
from pynetdicom import evt
from tests.support.certificates import certified
from tests.support.dimse import in_loop, receiving
from tests.support.forwarding import ForwardingSite, images, uid_of
from tests.support.network import Wire, eventually, free_port
from tests.support.peers import BlackHole, Peer

from pacsops.delivery import desk
from pacsops.delivery.model import Event, Status
from pacsops.dimse import Terms, Timeouts, acceptor_tls_context
from pacsops.routes import Backoff, RetryPolicy
from pacsops.sending import associations

OFTEN = RetryPolicy(max_attempts=50, backoff=Backoff.CONSTANT, initial_delay=0.2)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing is given seconds."""
    monkeypatch.setattr(associations, "TERMS", Terms(window=16, timeouts=Timeouts(2, 2, 2, 1)))


def only(uid: str, status: int) -> Callable[[evt.Event], int]:
    """A peer that answers `status` to one instance and success to the others."""
    return lambda event: status if str(event.request.AffectedSOPInstanceUID) == uid else 0x0000


BAD: dict[str, Callable[[contextlib.ExitStack], tuple[int, str]]] = {
    "refused": lambda _: (free_port(), "ANY"),
    "timeout": lambda stack: (stack.enter_context(BlackHole()).port, "ANY"),
    "rejected-association": lambda stack: (stack.enter_context(Peer("PEER", rejects=True)).port, "PEER"),
    "aborted": lambda stack: (stack.enter_context(Peer("PEER", drops=True)).port, "PEER"),
    "out-of-resources": lambda stack: (stack.enter_context(Peer("PEER", status=0xA701)).port, "PEER"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_destination_is_told_by_kind_and_holds_up_no_other(forwarding: ForwardingSite, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        port, aet = BAD[kind](stack)
        good = stack.enter_context(Peer("PACS"))
        bad = forwarding.address("BAD", port, aet)
        pacs = forwarding.destination("PACS", good)
        doomed = [forwarding.promise(bad, forwarding.receive(images(1)), study=f"1.1.{n}") for n in range(6)]
        fine = [forwarding.promise(pacs, forwarding.receive(images(1)), study=f"1.2.{n}") for n in range(10)]
        forwarding.start()

        for number in fine:
            forwarding.wait_for(number, Status.SUCCESS)
        eventually(lambda: forwarding.delivery(doomed[0]).last_error_class is not None)
        assert forwarding.delivery(doomed[0]).last_error_class == kind


def test_a_crawling_destination_holds_up_no_other(forwarding: ForwardingSite) -> None:
    with Peer("SLOW") as slow, Peer("PACS") as good, Wire(slow.port, bytes_per_second=500) as wire:
        crawl = forwarding.promise(forwarding.address("CRAWL", wire.port), forwarding.receive(images(2)), study="1.1")
        pacs = forwarding.destination("PACS", good)
        fine = [forwarding.promise(pacs, forwarding.receive(images(1)), study=f"1.2.{n}") for n in range(10)]
        forwarding.start()

        for number in fine:
            forwarding.wait_for(number, Status.SUCCESS)
        assert forwarding.delivery(crawl).status != Status.SUCCESS


def test_a_destination_that_comes_back_gets_everything(forwarding: ForwardingSite) -> None:
    peer = Peer("PACS")
    pacs = forwarding.destination("PACS", peer)
    forwarding.start()
    numbers = [forwarding.promise(pacs, forwarding.receive(images(1)), study=f"1.2.{n}") for n in range(8)]
    eventually(lambda: desk.destination_health(forwarding.database)["PACS"].breaker == "open")
    with peer:
        for number in numbers:
            forwarding.wait_for(number, Status.SUCCESS)


def test_a_full_destination_gets_the_rest_when_it_has_room(forwarding: ForwardingSite) -> None:
    datasets = images(6)
    full = threading.Event()

    def until_full(event: evt.Event) -> int:
        return 0xA700 if len(peer.received) > 3 and not full.is_set() else 0x0000

    with Peer("PACS", status=until_full) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets), retry=OFTEN)
        forwarding.start()
        eventually(lambda: forwarding.delivery(number).last_error_class == "out-of-resources")
        assert forwarding.delivery(number).delivered_count == 3
        assert len(peer.received) == 4  # what follows a full disk is not even tried
        full.set()

        forwarding.wait_for(number, Status.SUCCESS)
        taken = [uid_of(dataset) for dataset in datasets[:3]]
        assert all(peer.uids.count(uid) == 1 for uid in taken)


def test_an_image_the_destination_refuses_stops_no_other(forwarding: ForwardingSite) -> None:
    datasets = images(4)
    with Peer("PACS", status=only(uid_of(datasets[1]), 0xC123)) as peer:
        numbers = forwarding.receive(datasets)
        number = forwarding.promise(forwarding.destination("PACS", peer), numbers)
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK)

        assert (stuck.last_error_class, stuck.delivered_count) == ("peer-status", 3)
        assert "1 of 4 images did not arrive" in (stuck.last_error or "")
        (group,) = desk.failure_groups(forwarding.database)
        assert (group.dimse_status, group.sop_class) == (0xC123, CTImageStorage)
        peer.status = 0x0000
        desk.retry(forwarding.database, desk.DeliveryFilter(delivery_ids=(number,)), by="operator")
        forwarding.wait_for(number, Status.SUCCESS)
        assert peer.uids[4:] == [uid_of(datasets[1])]


def test_a_warning_is_a_delivery(forwarding: ForwardingSite) -> None:
    with Peer("PACS", status=0xB000) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(images(2)))
        forwarding.start()

        assert forwarding.wait_for(number, Status.SUCCESS).delivered_count == 2


def test_a_sop_class_the_destination_does_not_take_stops_no_other(forwarding: ForwardingSite) -> None:
    datasets = images(2, "CT", "SR")
    with Peer("PACS", sop_classes=[CTImageStorage]) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK)

        assert len(peer.received) == 2
    assert (stuck.last_error_class, stuck.delivered_count) == ("no-presentation-context", 2)
    (group,) = desk.failure_groups(forwarding.database)
    assert group.sop_class == BasicTextSRStorage


def test_an_image_at_which_the_destination_hangs_up_stops_no_other(forwarding: ForwardingSite) -> None:
    datasets = images(5)
    poison = uid_of(datasets[1])

    def dies_of(event: evt.Event) -> int:
        if str(event.request.AffectedSOPInstanceUID) == poison:
            event.assoc.abort()
        return 0x0000

    with Peer("PACS", status=dies_of) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK)

    assert (stuck.last_error_class, stuck.delivered_count) == ("aborted", 4)
    assert all(peer.uids.count(uid_of(dataset)) == 1 for dataset in datasets if uid_of(dataset) != poison)


def test_a_line_that_breaks_again_and_again_gets_a_study_through(forwarding: ForwardingSite) -> None:
    """Each attempt gets on, so none of the three it has is used up."""
    datasets = images(12)

    def breaks_after_two(event: evt.Event) -> int:
        if len(peer.received) % 3 == 0:
            event.assoc.abort()
        return 0x0000

    with Peer("PACS", status=breaks_after_two) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start()

        forwarding.wait_for(number, Status.SUCCESS)
        assert set(peer.uids) == {uid_of(dataset) for dataset in datasets}


def test_a_destination_that_gateway_yml_lacks_is_waited_for(forwarding: ForwardingSite) -> None:
    with Peer("PACS") as peer:
        forwarding.destination("PACS", peer)
        forwarding.forget("PACS")
        number = forwarding.promise("PACS", forwarding.receive(images(1)))
        forwarding.start()
        eventually(lambda: forwarding.delivery(number).last_error_class == "unknown-destination")
        assert forwarding.delivery(number).last_error == "gateway.yml has no destination PACS"

        forwarding.destination("PACS", peer)

        forwarding.wait_for(number, Status.SUCCESS)


def test_a_file_that_is_gone_from_the_spool_is_told_and_stops_no_other(forwarding: ForwardingSite) -> None:
    datasets = images(3)
    with Peer("PACS") as peer:
        numbers = forwarding.receive(datasets)
        next(forwarding.settings.gateway_spool.rglob(f"{uid_of(datasets[0])}.dcm")).unlink()
        number = forwarding.promise(forwarding.destination("PACS", peer), numbers)
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK)

        assert peer.uids == [uid_of(dataset) for dataset in datasets[1:]]
    assert stuck.last_error_class == "vanished"
    assert f"the file of image {numbers[0]} is not in the spool any more" in (stuck.last_error or "")


def test_a_broken_file_is_told_and_stops_no_other(forwarding: ForwardingSite) -> None:
    datasets = images(3)
    with Peer("PACS") as peer:
        numbers = forwarding.receive(datasets)
        next(forwarding.settings.gateway_spool.rglob(f"{uid_of(datasets[0])}.dcm")).write_bytes(b"nothing")
        number = forwarding.promise(forwarding.destination("PACS", peer), numbers)
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK)

        assert peer.uids == [uid_of(dataset) for dataset in datasets[1:]]
    assert stuck.last_error_class == "gateway"


def test_over_tls_both_sides_show_certificates(forwarding: ForwardingSite, tmp_path: Path) -> None:
    ours, theirs = certified(tmp_path, "gateway"), certified(tmp_path, "pacs")
    settings = forwarding.settings
    object.__setattr__(settings, "gateway_certificate", ours.certificate)
    object.__setattr__(settings, "gateway_key", ours.key)
    object.__setattr__(settings, "gateway_trusted", ours.authority)

    @in_loop
    async def receive() -> None:

        tls = acceptor_tls_context(theirs.certificate, theirs.key, theirs.authority)
        async with receiving(tls=tls) as (receiver, acceptor):
            pacs = forwarding.address("PACS", acceptor.port, tls=True)
            number = forwarding.promise(pacs, forwarding.receive(images(3)))
            forwarding.start()
            await asyncio.to_thread(forwarding.wait_for, number, Status.SUCCESS)
            assert len(receiver.kept) == 3

    receive()


def test_without_certificates_only_destinations_over_tls_wait(forwarding: ForwardingSite) -> None:
    with Peer("PACS") as peer:
        secret = forwarding.promise(
            forwarding.destination("SECRET", peer, tls=True), forwarding.receive(images(1)), study="1.1"
        )
        plain = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(images(1)), study="1.2")
        forwarding.start()

        forwarding.wait_for(plain, Status.SUCCESS)
        eventually(lambda: forwarding.delivery(secret).last_error_class == "tls")
    assert "GATEWAY_CERTIFICATE is not set" in (forwarding.delivery(secret).last_error or "")


def test_what_an_operator_takes_back_is_not_finished(
    forwarding: ForwardingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsops.sending.forwarding.LEASES_SECONDS", 0.2)
    begun, go_on = threading.Event(), threading.Event()

    def wait(event: evt.Event) -> int:
        begun.set()
        go_on.wait(10)
        return 0x0000

    with Peer("PACS", status=wait) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(images(3)))
        forwarding.start()
        assert begun.wait(10)
        desk.cancel(forwarding.database, desk.DeliveryFilter(delivery_ids=(number,)), reason="a mistake", by="me")
        eventually(lambda: forwarding.forwarder is not None and not forwarding.forwarder.in_flight)
        go_on.set()

        assert forwarding.delivery(number).status == Status.CANCELLED
        assert len(peer.received) == 1
    told = [event.event for event in desk.timeline(forwarding.database, "1.2.3")]
    assert told[-1] == Event.DELIVERY_CANCELLED
