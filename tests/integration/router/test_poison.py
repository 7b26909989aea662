"""One study that cannot be handled holds up no other, and is seen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk, studies
from pacsops.delivery.model import Event, Status
from pacsops.delivery.studies import Evaluation
from pacsops.errors import OrthancRefused, OrthancUnreachable
from pacsops.orthanc import Orthanc
from pacsops.router import dispatcher, feed, reconcile


@pytest.mark.parametrize(
    "error",
    [
        OrthancRefused("Orthanc refused GET /instances/x/tags", status=500),
        OrthancUnreachable("Orthanc did not answer within 10 s"),
        KeyError("DOE^JOHN"),
    ],
    ids=["refused", "silent", "a defect"],
)
def test_a_study_that_cannot_be_read_is_told_of_and_the_others_go_on(
    site: RoutedSite, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = feed.evaluate
    poison: list[str] = []

    def evaluate(at: Any, table: Any, study_id: str, seq: int) -> Evaluation:
        if study_id in poison:
            raise error
        return real(at, table, study_id, seq)

    monkeypatch.setattr(feed, "evaluate", evaluate)
    monkeypatch.setattr(reconcile, "evaluate", evaluate)
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        bad = a_study().with_series("CT")
        poison.append(bad.in_(site.orthanc))
        site.start()
        good = a_study().with_series("CT")
        good.in_(site.orthanc)

        site.wait_for(Status.SUCCESS)

        assert peer.uids == good.uids
        eventually(lambda: desk.unevaluated(site.database), what="the study being told of")
        (told,) = desk.unevaluated(site.database)
        assert told.study_id == poison[0]
        assert "DOE" not in (told.trouble or "")
        assert site.events(poison[0]).count(Event.STUDY_UNREADABLE) == 1

        study_id = poison.pop()
        with site.database.transaction() as tx:
            tx.run("UPDATE routing_study SET look_again_at = now()")
        site.wait_for(Status.SUCCESS, 2)
        assert studies.unsettled(site.database, older_than=0, most=1) == []
        assert Event.ROUTE_MATCHED in site.events(study_id)


def test_a_study_that_orthanc_never_survives_sending_is_not_sent_for_ever(
    site: RoutedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer), retry={"max_attempts": 2}))
        monkeypatch.setattr(dispatcher, "job", lambda *_: None)  # as after a restart
        site.start()
        study_id = a_study().with_series("CT").in_(site.orthanc)

        (delivery,) = site.wait_for(Status.STUCK)

        assert delivery.attempt_count == 2
        assert "restarted" in (delivery.last_error or "")
        assert site.events(study_id).count(Event.SEND_INTERRUPTED) == 2


def test_orthanc_letting_nobody_in_costs_no_attempts(site: RoutedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = dispatcher.submit_store, []

    def locked_out(*arguments: Any, **keywords: Any) -> str:
        if len(refusals) < 4:
            refusals.append(1)
            raise OrthancRefused("Orthanc refused us", status=401)
        return real(*arguments, **keywords)

    monkeypatch.setattr(dispatcher, "submit_store", locked_out)
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer), retry={"max_attempts": 1}))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)

        (delivery,) = site.wait_for(Status.SUCCESS, within=60)

        assert (peer.uids, delivery.attempt_count) == (study.uids, 1)


def test_studies_deleted_while_a_page_is_listed_do_not_end_the_scan(
    site: RoutedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_PAGE", 2)
    found = [a_study().with_series("CT").in_(site.orthanc) for _ in range(5)]
    for study_id in found:
        site.orthanc.stable(study_id)
    real, calls = Orthanc.studies_page, []

    def one_is_gone(orthanc: Orthanc, since: int, limit: int) -> Any:
        page = real(orthanc, since, limit)
        calls.append(since)
        return page[1:] if len(calls) == 1 else page

    monkeypatch.setattr(Orthanc, "studies_page", one_is_gone)
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()

        site.wait_for(Status.SUCCESS, 5, within=40)


def test_images_deleted_and_received_again_are_delivered_after_all(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer), retry={"initial_delay": 2}))
        site.start()
        study = a_study().with_series("CT")
        study_id = study.in_(site.orthanc)
        site.wait_for(Status.FAILED)
        site.orthanc.delete_study(study_id)
        peer.start()
        site.wait_for(Status.STUCK)

        site.orthanc.upload(study.datasets)

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids
