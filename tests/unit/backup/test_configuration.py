"""config/backup.json, and what is shown of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pacsops.backup.configuration import BackupConfiguration
from pacsops.errors import BackupRefused
from pacsops.settings import Settings


def configured(tmp_path: Path, **said: Any) -> BackupConfiguration:
    (tmp_path / "config").mkdir(exist_ok=True)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    whole = {
        "repository": "/mnt/backup/pacsops",
        "password_file": str(password),
        "keep": {"daily": 7, "weekly": 5, "monthly": 12},
        "work": str(tmp_path / "work"),
        "config": str(tmp_path / "config"),
        "parts": ["files"],
        "site_parts": ["files"],
        "sample": 200,
        "stop": "stop",
        "start": "start",
    }
    (tmp_path / "config" / "backup.json").write_text(json.dumps({**whole, **said}))
    (tmp_path / ".env").touch()
    return BackupConfiguration.load(Settings.load(tmp_path / ".env", environ={}))


@pytest.mark.parametrize(
    ("repository", "folder", "shown"),
    [
        ("/mnt/backup", "/mnt/backup", "/mnt/backup"),
        ("local:/mnt/backup", "/mnt/backup", "local:/mnt/backup"),
        ("sftp:backup@192.0.2.20:/srv/b", None, "sftp:backup@192.0.2.20:/srv/b"),
        ("rest:https://me:pass-word@192.0.2.20/b", None, "rest:https://me:***@192.0.2.20/b"),
        ("s3:https://192.0.2.20/bucket", None, "s3:https://192.0.2.20/bucket"),
    ],
)
def test_a_repository_is_known_by_where_it_is_and_shown_without_its_password(
    tmp_path: Path, repository: str, folder: str | None, shown: str
) -> None:
    configuration = configured(tmp_path, repository=repository, environment={"AWS_SECRET_ACCESS_KEY": "pass-word"})

    assert configuration.repository_folder == (Path(folder) if folder else None)
    assert configuration.repository_shown == shown
    assert "pass-word" not in repr(configuration)


def test_the_newest_backup_of_a_day_is_kept_whatever_is_said(tmp_path: Path) -> None:
    assert configured(tmp_path, keep={"daily": 0, "weekly": 0, "monthly": 0}).keep_daily == 1


def test_a_host_without_backups_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    settings = replace(Settings.load(tmp_path / ".env", environ={}))

    with pytest.raises(BackupRefused, match="this host has no backups") as caught:
        BackupConfiguration.load(settings)
    assert caught.value.hint
    assert "backup_repository" in caught.value.hint


def test_a_garbled_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match=r"backup\.json is not complete: KeyError\('daily'\)"):
        configured(tmp_path, keep={})
