"""Orthanc's log of changes."""

from __future__ import annotations

from pathlib import Path

from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study

from pacsops.orthanc import changes, last_change


def test_pages_go_through_the_log_in_order(orthanc: OrthancServer) -> None:
    start = last_change(orthanc.client)
    study_id = a_study().with_series("CR", instances=3).in_(orthanc)

    whole = changes(orthanc.client, start, 100)
    first = changes(orthanc.client, start, 2)
    rest = changes(orthanc.client, first.last, 100)

    assert first.rows + rest.rows == whole.rows
    assert (first.done, rest.done) == (False, True)
    assert first.last == first.rows[-1].seq
    assert [row.seq for row in whole.rows] == sorted(row.seq for row in whole.rows)
    assert [row.resource_id for row in whole.rows if row.type == "NewStudy"] == [study_id]
    assert sum(row.type == "NewInstance" for row in whole.rows) == 3


def test_an_empty_page_tells_the_newest_seq(orthanc: OrthancServer) -> None:
    a_study().with_series("CR").in_(orthanc)
    newest = last_change(orthanc.client)

    page = changes(orthanc.client, newest + 1000, 10)

    assert (page.rows, page.done, page.last) == ((), True, newest)


def test_a_restored_database_ends_before_what_was_read(orthanc: OrthancServer, tmp_path: Path) -> None:
    orthanc.backup(tmp_path / "backup")
    a_study().with_series("CR").in_(orthanc)
    read_up_to = last_change(orthanc.client)

    orthanc.restore(tmp_path / "backup")

    assert last_change(orthanc.client) < read_up_to
    assert changes(orthanc.client, read_up_to, 10).last < read_up_to
