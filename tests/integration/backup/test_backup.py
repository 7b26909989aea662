"""Backups that are made, listed, and proved by restoring them into a throwaway place."""

from __future__ import annotations

import pytest
from tests.support.backup import BackedUpSite
from tests.support.studies import a_study

pytestmark = pytest.mark.timeout(180)


def test_a_backup_is_proved_by_restoring_every_row_and_hashing_images(backed_up: BackedUpSite) -> None:
    a_study().with_series("CT", instances=5).in_(backed_up.orthanc)

    made = backed_up.orthanc_command("backup")
    proved = backed_up.orthanc_command("backup", "verify")

    assert made["parts"] == ["database", "files", "routes"]
    assert made["files"] >= 5
    assert proved["backup_id"] == made["id"]
    assert proved["restored_rows"] == made["rows"] > 0
    assert proved["hashed_instances"] == proved["md5_instances"] == 5
    assert proved["rows_without_file"] == proved["files_without_row"] == 0
    assert proved["problems"] == []
    assert proved["seconds"] >= proved["database_seconds"] > 0
    status = backed_up.orthanc_command("backup", "status")
    assert status["last_backup"]["detail"]["backup_id"] == made["id"]
    assert status["last_verify"]["detail"]["seconds"] == proved["seconds"]
    assert [each["id"] for each in backed_up.orthanc_command("backup", "list")["backups"]] == [made["id"]]
    assert {path.name for path in backed_up.work.iterdir()} == {".lock", "cache", "files.tsv", "repository.id"}
