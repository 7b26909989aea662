"""Orthanc, PostgreSQL and routers going away at the wrong moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Held, Peer
from tests.support.postgres import PostgresServer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import studies
from pacsops.delivery.model import Event, Status
from pacsops.errors import OrthancUnreachable
from pacsops.orthanc import last_change
from pacsops.router import dispatcher, feed, reconcile
from pacsops.router.service import Router
from pacsops.settings import Settings


def test_orthanc_down_at_start_is_waited_for(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.orthanc.stop()
        site.start()
        eventually(lambda: site.router and site.router.site.table, what="the routes in force without Orthanc")
        site.orthanc.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids


@pytest.fixture
def slow_to_settle(settings: Settings) -> Iterator[OrthancServer]:
    """An Orthanc that takes three seconds to call a study stable."""
    with OrthancServer(options={"StableAge": 3}) as server:
        yield server


def test_orthanc_restarted_while_a_study_is_unstable_loses_no_study(
    settings: Settings, slow_to_settle: OrthancServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SETTLING_SECONDS", 2.0)
    with RoutedSite(slow_to_settle.settings(settings), slow_to_settle) as site, Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT", instances=2)
        study_id = study.in_(site.orthanc)
        eventually(lambda: Event.STUDY_RECEIVED in site.events(study_id), what="the arrival being noticed")

        site.orthanc.kill()
        site.orthanc.start()

        site.wait_for(Status.SUCCESS)
        assert sorted(peer.uids) == sorted(study.uids)


def test_a_late_instance_is_not_lost_when_orthanc_restarts_before_the_study_is_stable_again(
    settings: Settings, slow_to_settle: OrthancServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SETTLING_SECONDS", 2.0)
    with RoutedSite(slow_to_settle.settings(settings), slow_to_settle) as site, Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        site.stop()  # the router sees neither the arrival nor the restart

        study.with_series("CT").in_(site.orthanc)
        site.orthanc.kill()
        site.orthanc.start()
        site.start()

        peer.wait_for(2)
        assert sorted(peer.uids) == sorted(study.uids)


def test_orthanc_restored_from_a_backup_is_noticed_and_scanned(site: RoutedSite, tmp_path: Path) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        kept = a_study().with_series("CT")
        kept.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        site.orthanc.stop()
        site.orthanc.backup(tmp_path / "backup")
        site.orthanc.start()
        for _ in range(3):
            a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.SUCCESS, 4)

        site.orthanc.stop()
        site.orthanc.restore(tmp_path / "backup")
        site.orthanc.start()
        after = a_study().with_series("CT")
        after.in_(site.orthanc)

        site.wait_for(Status.SUCCESS, 5)
        assert peer.uids.count(kept.uids[0]) == 1, "what was delivered before the backup is not sent again"
        assert after.uids[0] in peer.uids


def test_a_database_restored_to_the_same_length_is_noticed_by_its_rows(site: RoutedSite, tmp_path: Path) -> None:
    """Change numbers go back and grow past the cursor again before the router looks."""
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.orthanc.stop()
        site.orthanc.backup(tmp_path / "backup")
        site.orthanc.start()
        site.destination(peer)
        site.start()
        a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        site.stop()

        site.orthanc.stop()
        site.orthanc.restore(tmp_path / "backup")
        site.orthanc.start()
        site.destination(peer)
        hidden = [a_study().with_series("CT", instances=4) for _ in range(2)]
        for study in hidden:
            site.orthanc.stable(study.in_(site.orthanc))
        site.start()

        site.wait_for(Status.SUCCESS, 3)
        assert {uid for study in hidden for uid in study.uids} <= set(peer.uids)


def test_deleting_the_newest_study_is_not_taken_for_a_restored_database(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study_id = a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        site.orthanc.stable(study_id)
        read = eventually(lambda: _all_read(site), what="the log being read to its end")

        site.orthanc.delete_study(study_id)
        threading.Event().wait(3)  # some polls

        assert studies.cursor(site.database) == read


def _all_read(site: RoutedSite) -> studies.Cursor | None:
    cursor = studies.cursor(site.database)
    return cursor if cursor and cursor.seq == last_change(site.orthanc.client) else None


def test_a_study_from_before_the_first_start_is_found_by_the_scan_and_an_old_archive_is_left_alone(
    site: RoutedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_BACK_SECONDS", 4.0)
    old = a_study().with_series("CT")
    old_id = old.in_(site.orthanc)
    site.orthanc.stable(old_id)
    threading.Event().wait(4.5)  # the look-back is about the clock
    recent = a_study().with_series("CT")
    recent.in_(site.orthanc)
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        site.wait_for(Status.SUCCESS)
        assert peer.uids == recent.uids

        result = reconcile.reconcile(site.database, site.orthanc.client, since=None)

        assert result.studies == [old_id]
        site.wait_for(Status.SUCCESS, 2)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_restarted_during_a_delivery_loses_and_repeats_nothing(
    site: RoutedSite, postgres: PostgresServer, mode: str
) -> None:
    answer = Held()
    with Peer("PACS", status=answer) as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        assert answer.begun.wait(15)

        postgres.restart(mode)  # type: ignore[arg-type]
        answer.give()

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids


def test_orthanc_killed_during_a_delivery_sends_it_again(site: RoutedSite) -> None:
    answer = Held()
    with Peer("PACS", status=answer) as peer:
        site.routes(a_route("all", site.destination(peer), retry={"max_attempts": 1}))
        site.start()
        study = a_study().with_series("CT")
        study_id = study.in_(site.orthanc)
        assert answer.begun.wait(15)

        site.orthanc.kill()
        answer.give()
        site.orthanc.start()

        (delivery,) = site.wait_for(Status.SUCCESS)
        assert set(peer.uids) == set(study.uids)
        assert delivery.attempt_count == 1, "an interruption is no attempt"
        assert Event.SEND_INTERRUPTED in site.events(study_id)


def test_two_routers_by_mistake_send_everything_once(site: RoutedSite) -> None:
    with Peer("PACS_A") as first, Peer("PACS_B") as second:
        site.routes(a_route("all", [site.destination(first), site.destination(second)]))
        site.start()
        other = Router(site.settings)
        other.start()
        try:
            studies = [a_study().with_series("CT") for _ in range(5)]
            for study in studies:
                study.in_(site.orthanc)
            site.wait_for(Status.SUCCESS, 10)
        finally:
            other.stop()
        everything = sorted(uid for study in studies for uid in study.uids)
        assert sorted(first.uids) == sorted(second.uids) == everything


def test_a_study_deleted_while_it_waits_is_said_to_be_gone(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer), retry={"initial_delay": 2}))
        site.start()
        study_id = a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.FAILED)

        site.orthanc.delete_study(study_id)
        peer.start()

        (delivery,) = site.wait_for(Status.STUCK)
        assert delivery.last_error_class == "vanished"
        assert "deleted" in (delivery.last_error or "")


def test_when_some_instances_are_deleted_the_others_still_arrive(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer), retry={"initial_delay": 2}))
        site.start()
        study = a_study().with_series("CT", instances=3)
        study_id = study.in_(site.orthanc)
        site.wait_for(Status.FAILED)

        gone = site.orthanc.client.bulk_content([study_id], "Instance")[0]
        site.orthanc.client.delete(f"/instances/{gone['ID']}")
        peer.start()

        site.wait_for(Status.SUCCESS)
        assert set(peer.uids) == set(study.uids) - {gone["MainDicomTags"]["SOPInstanceUID"]}


def test_instances_that_arrive_during_a_send_follow_it(site: RoutedSite) -> None:
    answer = Held()
    with Peer("PACS", status=answer) as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT")
        study_id = study.in_(site.orthanc)
        assert answer.begun.wait(15)
        study.with_series("CT", instances=2).in_(site.orthanc)
        eventually(lambda: site.deliveries()[0].instance_count == 3, what="the late instances being planned")
        assert site.deliveries()[0].status == Status.SENT

        answer.give()

        site.wait_for(Status.SUCCESS)
        assert sorted(peer.uids) == sorted(study.uids)
        assert Event.DELIVERY_GREW in site.events(study_id)


def test_a_submission_whose_answer_was_lost_is_found_and_not_repeated(
    site: RoutedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = dispatcher.submit_store, []

    def answer_lost_once(*args: Any, **keywords: Any) -> str:
        job_id = real(*args, **keywords)
        if not lost:
            lost.append(job_id)
            raise OrthancUnreachable("the connection broke before the answer came")
        return job_id

    monkeypatch.setattr(dispatcher, "submit_store", answer_lost_once)
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)

        (delivery,) = site.wait_for(Status.SUCCESS)

        assert peer.uids == study.uids
        assert delivery.job_id == lost[0]


def test_while_orthanc_is_away_nothing_is_claimed_over_and_over(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer), retry={"initial_delay": 0.5, "max_attempts": 100}))
        site.start()
        study_id = a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.FAILED)
        site.orthanc.stop()
        eventually(lambda: Event.SEND_INTERRUPTED in site.events(study_id) or site.trouble("dispatch"), what="notice")
        before = len(site.events(study_id))

        threading.Event().wait(6)

        assert len(site.events(study_id)) <= before + 1
        peer.start()
        site.orthanc.start()
        site.wait_for(Status.SUCCESS)
