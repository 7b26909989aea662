"""The forwarder killed, frozen and cut off from PostgreSQL: what arrived is not sent again, and nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest
from pynetdicom import evt
from tests.support.deliveries import row
from tests.support.forwarding import ForwardingSite, images, uid_of
from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.postgres import PostgresServer

from pacsops.delivery import claims, outcomes, sql
from pacsops.delivery.model import Status


class Slow:
    """A `status` that takes a while for each instance."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, event: evt.Event) -> int:
        time.sleep(self.seconds)
        return 0x0000


class Holding:
    """A `status` that is not given for the instance of one turn (from 1) until the test says so."""

    def __init__(self, turn: int) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._turn = turn
        self._lock = threading.Lock()

    def __call__(self, event: evt.Event) -> int:
        with self._lock:
            self._turn -= 1
            turn = self._turn
        if turn == 0:
            self.reached.set()
            self.go_on.wait(30)
        return 0x0000


@pytest.fixture
def postgres_back(postgres: PostgresServer) -> Iterator[PostgresServer]:
    yield postgres
    postgres.ensure_running()


def test_a_forwarder_killed_in_the_middle_of_a_study_sends_only_what_was_not_confirmed(
    forwarding: ForwardingSite,
) -> None:
    datasets = images(40)
    with Peer("PACS", status=Slow(0.1)) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start_process()
        eventually(lambda: forwarding.delivery(number).delivered_count >= 10)
        forwarding.kill()
        confirmed = forwarding.delivery(number).delivered_count
        arrived = len(peer.received)

        forwarding.start_process()  # its predecessor's lease has most of a minute to go

        forwarding.wait_for(number, Status.SUCCESS)
        assert set(peer.uids) == {uid_of(dataset) for dataset in datasets}
        sure = set(peer.uids[:confirmed])
        assert all(peer.uids.count(uid) == 1 for uid in sure)
        assert len(peer.received) - len(datasets) <= arrived - confirmed
        assert 10 <= confirmed < len(datasets)


@pytest.mark.parametrize("kills", [6])
def test_a_forwarder_killed_again_and_again_delivers_every_image(forwarding: ForwardingSite, kills: int) -> None:
    datasets = images(60)
    with Peer("PACS", status=Slow(0.03)) as peer:
        pacs = forwarding.destination("PACS", peer)
        numbers = [
            forwarding.promise(pacs, forwarding.receive(datasets[n : n + 10]), study=f"1.2.{n}")
            for n in range(0, 60, 10)
        ]
        for _ in range(kills):
            before = len(peer.received)
            forwarding.start_process()
            eventually(lambda before=before: len(peer.received) > before + 3, within=30)  # type: ignore[misc]
            forwarding.kill()
        forwarding.start_process()

        for number in numbers:
            forwarding.wait_for(number, Status.SUCCESS)
        assert set(peer.uids) == {uid_of(dataset) for dataset in datasets}


def frozen_past_its_lease(forwarding: ForwardingSite) -> tuple[Status, list[str], int]:
    """A forwarder is stopped in the middle of a delivery that another then fails for good, and goes on afterwards.

    What the delivery is then, what of it counts as delivered, and how many images came after the thaw.
    """
    datasets = images(6)
    holding = Holding(3)
    with Peer("PACS", status=holding) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start_process("2")
        assert holding.reached.wait(20), forwarding.log
        eventually(lambda: forwarding.delivery(number).delivered_count == 2)
        forwarding.signal(signal.SIGSTOP)
        rescued = eventually(lambda: claims.rescue(forwarding.database, "other:1:a", source="gateway"))
        arrived = len(peer.received)
        holding.go_on.set()
        forwarding.signal(signal.SIGCONT)
        eventually(lambda: "claim_lost" in forwarding.log, what="finding out")
        found = row(forwarding.database, number)
        assert (found["claim_token"], found["claimed_by"]) == (rescued[0].token, "other:1:a")
        return Status(found["status"]), found["delivered_instances"], len(peer.received) - arrived


def test_a_forwarder_frozen_past_its_lease_writes_nothing(forwarding: ForwardingSite) -> None:
    status, delivered, _ = frozen_past_its_lease(forwarding)

    assert (status, len(delivered)) == (Status.SENDING, 2)


def test_without_its_fence_a_frozen_forwarder_would_write(
    forwarding: ForwardingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test of the fence turns red without it: mutation of the statement behind `outcomes.confirm`."""
    fence = "AND claim_token = %(token)s"
    assert sql.CONFIRM.count(fence) == 1
    datasets = images(2)
    ids = forwarding.receive(datasets)
    number = forwarding.promise("PACS", ids)
    (mine,) = claims.claim(forwarding.database, "mine:1:a", source="gateway")
    with forwarding.database.transaction() as tx:
        tx.run("UPDATE routing_state SET lease_until = now() - interval '1 second'")
    assert claims.rescue(forwarding.database, "other:1:a", source="gateway")
    assert outcomes.confirm(forwarding.database, mine, ids[:1]) is None
    assert row(forwarding.database, number)["delivered_instances"] == []

    monkeypatch.setattr(sql, "CONFIRM", sql.CONFIRM.replace(fence, "AND %(token)s <> ''"))

    assert outcomes.confirm(forwarding.database, mine, ids[:1]) is not None
    assert row(forwarding.database, number)["delivered_instances"] == ids[:1]


@pytest.mark.parametrize("away", [0.0, 3.0])
def test_postgresql_that_dies_while_images_are_sent_costs_no_image(
    forwarding: ForwardingSite, postgres_back: PostgresServer, away: float
) -> None:
    datasets = images(40)
    with Peer("PACS", status=Slow(0.05)) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start()
        eventually(lambda: forwarding.delivery(number).delivered_count >= 5)
        postgres_back.stop("immediate")
        time.sleep(away)
        postgres_back.start()
        forwarding.database.close()  # its connection is of the server before

        forwarding.wait_for(number, Status.SUCCESS)
        assert sorted(peer.uids) == sorted(uid_of(dataset) for dataset in datasets)  # each of them once


def test_a_forwarder_cut_off_for_longer_than_its_lease_stops_sending_by_itself(
    forwarding: ForwardingSite, postgres_back: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsops.sending.attempt.HELD_SECONDS", 1.0)
    monkeypatch.setattr("pacsops.sending.forwarding.LEASES_SECONDS", 0.3)
    datasets = images(60)
    with Peer("PACS", status=Slow(0.05)) as peer:
        number = forwarding.promise(forwarding.destination("PACS", peer), forwarding.receive(datasets))
        forwarding.start()
        eventually(lambda: len(peer.received) >= 5)
        postgres_back.stop("immediate")
        time.sleep(2.5)
        arrived = len(peer.received)
        time.sleep(1)
        assert len(peer.received) == arrived < len(datasets)
        postgres_back.start()
        forwarding.database.close()  # its connection is of the server before

        forwarding.wait_for(number, Status.SUCCESS)
        assert sorted(peer.uids) == sorted(uid_of(dataset) for dataset in datasets)
