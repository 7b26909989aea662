"""The router reconciles by itself, once a night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest
from tests.support.archive import Archive
from tests.support.network import eventually
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk, verification
from pacsops.delivery.model import Event, Method, Status
from pacsops.orthanc import ensure
from pacsops.router import nightly


@pytest.fixture
def archive(site: RoutedSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A destination whose answers of a moment ago count as settled."""
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", ())
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(nightly, "LOOK_SECONDS", 0.2)
    with Archive() as server:
        ensure(site.orthanc.client, server.modality())
        yield server


def test_what_was_lost_in_the_week_is_sent_again_in_the_night_and_reported(
    site: RoutedSite, archive: Archive
) -> None:
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    study = a_study().with_series("CT", instances=2)
    study_id = study.in_(site.orthanc)
    site.wait_for(Status.SUCCESS)
    archive.loses(study.uids[:1])
    desk.set_verification(site.database, "ARCHIVE", Method.FIND)
    assert desk.last_reconciliation(site.database) is None
    site.stop()

    site.settings = replace(site.settings, reconcile_at=datetime.now().time())
    site.start()

    last = eventually(lambda: desk.last_reconciliation(site.database), what="the night's reconciliation")
    assert (last.result["asked"], last.result["lacking"], last.result["images"]) == (1, 1, 1)
    assert Event.DELIVERY_LACKING in site.events(study_id)
    site.wait_for(Status.SUCCESS)
    assert archive.uids == sorted(study.uids)


def test_a_restarted_router_does_not_do_the_night_again(site: RoutedSite, archive: Archive) -> None:
    site.settings = replace(site.settings, reconcile_at=datetime.now().time())
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    first = eventually(lambda: desk.last_reconciliation(site.database), what="the night's reconciliation")
    site.stop()

    site.start()
    study_id = a_study().with_series("CT").in_(site.orthanc)
    site.wait_for(Status.SUCCESS)

    assert desk.last_reconciliation(site.database) == first
    assert Event.STUDY_RECEIVED in site.events(study_id)
