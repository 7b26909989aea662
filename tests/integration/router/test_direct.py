"""Destinations with `transport: direct`: the router sends itself, and goes on where it was."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import evt
from tests.support.certificates import Certified, certified
from tests.support.dimse import in_loop, storescp
from tests.support.network import eventually
from tests.support.peers import Held, Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk
from pacsops.delivery.model import Event, Status
from pacsops.dimse import StoredInstance
from pacsops.orthanc import Modality, ensure
from pacsops.router import direct


def direct_to(site: RoutedSite, peer: Peer) -> str:
    """A destination the router sends to by itself."""
    name = site.destination(peer)
    assert desk.set_transport(site.database, name, "direct")
    return name


def data_set(site: RoutedSite, uid: str) -> str:
    """The digest of an instance's data set as Orthanc holds it."""
    found = site.orthanc.client.ask("/tools/lookup", uid)[0]["ID"]
    content = site.orthanc.client.instance_file(found, site.folder / "instance.dcm", in_memory=1 << 30)
    assert isinstance(content, bytes)
    with StoredInstance(content) as stored:
        return hashlib.sha256(content[stored.offset :]).hexdigest()


def test_the_router_sends_itself_and_makes_no_job(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start()
        study = a_study().with_series("CT", instances=3).with_series("SR")
        before = site.orthanc.client.get("/jobs")
        study_id = study.in_(site.orthanc)

        (delivery,) = site.wait_for(Status.SUCCESS)

        assert sorted(peer.uids) == sorted(study.uids)
        assert {one.calling_aet for one in peer.received} == {site.orthanc.aet}
        assert {one.sha256 for one in peer.received} == {data_set(site, one) for one in study.uids}
    assert delivery.job_id is None
    assert set(site.orthanc.client.get("/jobs")) <= set(before)
    told = [event for event in site.events(study_id) if event in (Event.SEND_STARTED, Event.SEND_SUCCESS)]
    assert told == [Event.SEND_STARTED, Event.SEND_SUCCESS]


def test_a_large_image_goes_through_a_file(site: RoutedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_IN_MEMORY", 1000)
    with Peer("PACS") as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start()
        study = a_study().with_series("CT", sizes=[(512, 512)])
        study.in_(site.orthanc)

        site.wait_for(Status.SUCCESS)

        assert peer.received[0].dataset.PixelData == study.datasets[0].PixelData


def test_orthanc_goes_on_sending_to_the_others(site: RoutedSite) -> None:
    with Peer("PACS") as peer, Peer("OTHER") as other:
        site.routes(a_route("all", [direct_to(site, peer), site.destination(other)]))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        sent = {delivery.destination: delivery.job_id for delivery in site.wait_for(Status.SUCCESS, 2)}

    assert sent["PACS"] is None
    assert sent["OTHER"] is not None


def test_a_router_killed_in_the_middle_goes_on_where_it_was(site: RoutedSite) -> None:
    def slowly(event: evt.Event) -> int:
        time.sleep(0.1)
        return 0x0000

    with Peer("PACS", status=slowly) as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start_process()
        study = a_study().with_series("CT", instances=40)
        study.in_(site.orthanc)
        eventually(lambda: any(delivery.delivered_count >= 10 for delivery in site.deliveries()), within=30)
        site.kill()
        (delivery,) = site.deliveries()
        sure = set(peer.uids[: delivery.delivered_count])

        site.start_process()

        site.wait_for(Status.SUCCESS)
        assert set(peer.uids) == set(study.uids)
        assert all(peer.uids.count(uid) == 1 for uid in sure)


def test_an_image_deleted_meanwhile_is_not_missed(site: RoutedSite) -> None:
    held = Held()
    with Peer("PACS", status=held) as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start()
        study = a_study().with_series("CT", instances=5)
        study.in_(site.orthanc)
        assert held.begun.wait(20)
        last = site.orthanc.client.ask("/tools/lookup", study.uids[-1])[0]["ID"]
        site.orthanc.client.delete(f"/instances/{last}")
        held.give()

        (delivery,) = site.wait_for(Status.SUCCESS)

        assert sorted(peer.uids) == sorted(study.uids[:-1])
    assert delivery.delivered_count == delivery.instance_count == 4


def test_orthanc_away_costs_no_attempt(site: RoutedSite) -> None:
    def slowly(event: evt.Event) -> int:
        time.sleep(0.1)
        return 0x0000

    with Peer("PACS", status=slowly) as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start()
        study = a_study().with_series("CT", instances=30)
        study.in_(site.orthanc)
        peer.wait_for(3)
        site.orthanc.kill()
        eventually(lambda: not any(d.status == Status.SENDING for d in site.deliveries()))
        site.orthanc.start()

        (delivery,) = site.wait_for(Status.SUCCESS, within=60)

        assert set(peer.uids) == set(study.uids)
    assert delivery.attempt_count == 1


def test_an_image_it_does_not_take_stops_no_other(site: RoutedSite) -> None:
    with Peer("PACS", sop_classes=[CTImageStorage]) as peer:
        site.routes(a_route("all", direct_to(site, peer)))
        site.start()
        a_study().with_series("CT", instances=2).with_series("SR").in_(site.orthanc)

        (stuck,) = site.wait_for(Status.STUCK)

        assert len(peer.received) == 2
    assert (stuck.last_error_class, stuck.delivered_count) == ("no-presentation-context", 2)


def over_tls(site: RoutedSite, port: int) -> str:
    """A destination the router sends to by itself, over TLS."""
    pacs = Modality(name="PACS", aet="PACS", host="127.0.0.1", port=port, use_dicom_tls=True)
    ensure(site.orthanc.client, pacs)
    desk.set_transport(site.database, "PACS", "direct")
    return "PACS"


def shows(site: RoutedSite, certificate: Certified) -> None:
    """The router's files are copies of these from now on."""
    for name in ("certificate", "key", "authority"):
        setting = "trusted" if name == "authority" else name
        file = site.folder / f"router.{setting}"
        new = file.with_suffix(".new")
        shutil.copyfile(getattr(certificate, name), new)
        new.replace(file)
        object.__setattr__(site.settings, f"router_{setting}", file)


def test_over_tls_both_sides_show_certificates_and_renewed_ones_hold_without_a_restart(
    site: RoutedSite, tmp_path: Path
) -> None:
    @in_loop
    async def receive() -> None:
        for number, authority in enumerate(("old", "new"), 1):
            theirs = certified(tmp_path / authority, "pacs")
            shows(site, certified(tmp_path / authority, "router"))
            kept = tmp_path / authority / "kept"
            kept.mkdir()
            async with storescp(kept, *theirs.dcmtk(), "--verify-peer-cert") as port:
                site.routes(a_route("all", over_tls(site, port)))
                if site.router is None:
                    site.start()
                a_study().with_series("CT", instances=3).in_(site.orthanc)
                deliveries = await asyncio.to_thread(site.wait_for, Status.SUCCESS, number)
            assert len(list(kept.iterdir())) == 3
            assert {delivery.attempt_count for delivery in deliveries} == {1}

    receive()


def test_a_destination_that_does_not_believe_the_router_takes_nothing(site: RoutedSite, tmp_path: Path) -> None:
    theirs, stranger = certified(tmp_path, "pacs"), certified(tmp_path / "other", "router")
    object.__setattr__(stranger, "authority", theirs.authority)
    kept = tmp_path / "kept"
    kept.mkdir()

    @in_loop
    async def receive() -> None:
        shows(site, stranger)
        async with storescp(kept, *theirs.dcmtk()) as port:
            site.routes(a_route("all", over_tls(site, port)))
            site.start()
            a_study().with_series("CT").in_(site.orthanc)
            await asyncio.to_thread(eventually, lambda: any(d.last_error for d in site.deliveries()))

    receive()
    assert list(kept.iterdir()) == []
    # With TLS 1.3 it says so after our handshake is done, and the end of its connection may be quicker than its word.
    assert {delivery.last_error_class for delivery in site.deliveries()} <= {"tls", "aborted"}


def test_without_a_certificate_a_destination_over_tls_is_left_to_orthanc(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", over_tls(site, peer.port)))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        eventually(lambda: any(d.last_error_class == "tls" for d in site.deliveries()))
        (delivery,) = site.deliveries()
        assert "give it `transport: orthanc`, or the router one (ROUTER_CERTIFICATE)" in (delivery.last_error or "")
        assert desk.set_transport(site.database, "PACS", "orthanc")


def test_a_certificate_that_is_unfit_is_named(site: RoutedSite, tmp_path: Path) -> None:
    own = certified(tmp_path, "router")
    own.certificate.write_text("no certificate")
    with Peer("PACS") as peer:
        shows(site, own)
        site.routes(a_route("all", over_tls(site, peer.port)))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        eventually(lambda: any(d.last_error_class == "tls" for d in site.deliveries()))
        (delivery,) = site.deliveries()
        assert "the router's certificates cannot be used" in (delivery.last_error or "")
        assert str(site.settings.router_certificate) in (delivery.last_error or "")
