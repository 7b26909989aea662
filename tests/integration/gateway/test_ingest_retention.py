"""What was delivered for good leaves the spool; nothing else ever does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.deliveries import NO_CONTEXT
from tests.support.spool import SpooledGateway, a_gateway_route, age_file, deliver_all
from tests.support.studies import StudyBuilder, a_study

from pacsops.delivery import claims, desk, outcomes
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Status
from pacsops.gateway import retention as retaining


@pytest.fixture
def delivered(spooled: SpooledGateway) -> tuple[SpooledGateway, StudyBuilder]:
    """A study of three images that was delivered ten days ago."""
    spooled.ingest.scan()
    study = a_study().with_series("CT", instances=3)
    spooled.take(study)
    _settle_and_deliver(spooled)
    spooled.age(10)
    return spooled, study


def _settle_and_deliver(spooled: SpooledGateway) -> None:
    spooled.age(1)
    spooled.ingest.settle()
    deliver_all(spooled.database)


def test_what_was_delivered_for_good_leaves_after_its_time(delivered: tuple[SpooledGateway, StudyBuilder]) -> None:
    spooled, study = delivered
    spooled.retention(keep_days=30).step()
    spooled.retention(keep_days=0).step()
    assert len(spooled.files()) == 3

    spooled.retention(keep_days=7).step()

    assert spooled.files() == set()
    assert not (spooled.spool / study.study_uid).exists()
    assert all(row["removed_at"] for row in spooled.instances())
    spooled.restart()
    spooled.ingest.scan()
    assert spooled.trouble(study.study_uid) is None
    assert len(spooled.instances()) == 3


@pytest.mark.parametrize("status", [Status.PENDING, Status.SENDING, Status.FAILED, Status.STUCK])
def test_what_is_open_stays(spooled: SpooledGateway, status: Status) -> None:
    spooled.routes(a_gateway_route("all", "PACS"), a_gateway_route("second", "ARCHIVE"))
    spooled.ingest.scan()
    spooled.take(a_study().with_series("CT"))
    spooled.age(1)
    spooled.ingest.settle()
    if status is not Status.PENDING:
        (claim,) = claims.claim(spooled.database, "test:1", source="gateway")
        if status is not Status.SENDING:
            outcomes.fail(spooled.database, claim, NO_CONTEXT)
        if status is Status.FAILED:
            spooled.rows("UPDATE routing_state SET status = 'failed', next_retry_at = now() WHERE id = %(id)s"
                         " RETURNING id", id=claim.delivery_id)  # fmt: skip
        first = claim.delivery_id
    else:
        first = spooled.deliveries()[0].id
    others = tuple(delivery.id for delivery in spooled.deliveries() if delivery.id != first)
    desk.skip(spooled.database, DeliveryFilter(delivery_ids=others), reason="not needed", by="operator")
    spooled.age(100)

    spooled.retention(keep_days=1).step()

    assert len(spooled.files()) == 1


@pytest.mark.parametrize(
    "undone",
    [
        "UPDATE routing_study SET evaluated_seq = -1 RETURNING 1",
        "UPDATE routing_study SET trouble = 'unreadable' RETURNING 1",
        "UPDATE gateway_series SET evaluated_at = NULL RETURNING 1",
        "DELETE FROM routing_event RETURNING 1; DELETE FROM routing_state RETURNING 1",
        "UPDATE destination_health SET gateway_verify = 'find' RETURNING 1",
        "UPDATE routing_state SET updated_at = now() RETURNING 1",
        "UPDATE routing_study SET arrived_at = now() RETURNING 1",
    ],
)
def test_what_is_not_done_for_good_stays(delivered: tuple[SpooledGateway, StudyBuilder], undone: str) -> None:
    spooled, _ = delivered
    spooled.rows(undone)
    spooled.retention(keep_days=7).step()
    assert len(spooled.files()) == 3


def test_what_was_verified_leaves(delivered: tuple[SpooledGateway, StudyBuilder]) -> None:
    spooled, _ = delivered
    spooled.rows("UPDATE destination_health SET gateway_verify = 'find' RETURNING 1")
    spooled.rows("UPDATE routing_state SET verified_at = completed_at RETURNING 1")
    spooled.retention(keep_days=7).step()
    assert spooled.files() == set()


def test_killed_between_the_mark_and_the_removal_the_next_start_goes_on(
    delivered: tuple[SpooledGateway, StudyBuilder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled, study = delivered
    unlink = retaining.Retention._unlink
    monkeypatch.setattr(retaining.Retention, "_unlink", lambda *_: None)
    spooled.retention(keep_days=7).step()
    assert len(spooled.files()) == 3
    monkeypatch.setattr(retaining.Retention, "_unlink", unlink)

    # The scan of the next start takes none of them for new.
    spooled.restart()
    spooled.ingest.scan()
    assert len(spooled.instances()) == 3
    spooled.retention(keep_days=7).step()

    assert spooled.files() == set()
    assert {delivery.status for delivery in spooled.deliveries()} == {Status.SUCCESS}
    assert spooled.trouble(study.study_uid) is None


def test_what_is_received_once_more_after_its_removal_is_delivered_once_more(
    delivered: tuple[SpooledGateway, StudyBuilder],
) -> None:
    spooled, study = delivered
    spooled.retention(keep_days=7).step()
    (name,) = spooled.write(study.datasets[:1])
    age_file(spooled.spool / name, -5)

    assert spooled.ingest.take([name]) == 1

    (delivery,) = spooled.deliveries()
    assert (delivery.status, delivery.instance_count, delivery.delivered_count) == (Status.PENDING, 4, 3)
    claim = _claim(spooled)
    assert [row["file"] for row in spooled.instances() if str(row["id"]) in claim.instances] == [name]
    spooled.retention(keep_days=7).step()
    assert spooled.files() == {name}


def test_a_route_added_after_the_removal_is_not_promised_what_is_gone(
    delivered: tuple[SpooledGateway, StudyBuilder],
) -> None:
    spooled, study = delivered
    spooled.retention(keep_days=7).step()
    spooled.routes(a_gateway_route("all", "PACS"), a_gateway_route("new", "ARCHIVE"))
    study.series[0].add_instance()
    more = spooled.take([study.datasets[-1]])
    assert spooled.promised()["new", "ARCHIVE"] == set(more)


def _claim(spooled: SpooledGateway) -> Any:
    (claim,) = claims.claim(spooled.database, "test:1", source="gateway")
    return claim
