"""nginx_users: hashed, kept while they hold, shown to nobody."""

from __future__ import annotations

from pathlib import Path

from tests.ansible.conftest import RunModule

USERS = {"radiology": "a-password-for-looking", "emergency": "another-long-password"}


def test_users_are_written_once_and_a_changed_password_alone_is_hashed_anew(
    tmp_path: Path, run_module: RunModule
) -> None:
    path = tmp_path / "users"
    first = run_module("nginx_users", {"path": str(path), "users": USERS, "mode": "0640"})
    before = dict(line.split(":", 1) for line in path.read_text().splitlines())

    second = run_module("nginx_users", {"path": str(path), "users": USERS, "mode": "0640"})
    third = run_module("nginx_users", {"path": str(path), "users": {**USERS, "emergency": "a-new-long-password"}})

    after = dict(line.split(":", 1) for line in path.read_text().splitlines())
    assert [each["changed"] for each in (first, second, third)] == [True, False, True]
    assert after["radiology"] == before["radiology"]
    assert after["emergency"] != before["emergency"]
    assert third["diff"]["after"] == "emergency (new password)\nradiology\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_no_password_is_kept_in_the_clear_or_shown(tmp_path: Path, run_module: RunModule) -> None:
    path = tmp_path / "users"
    shown = str(run_module("nginx_users", {"path": str(path), "users": USERS}))

    for password in USERS.values():
        assert password not in path.read_text()
        assert password not in shown
    for line in path.read_text().splitlines():
        assert line.split(":", 1)[1] not in shown


def test_who_is_gone_from_the_inventory_is_gone_from_the_file(tmp_path: Path, run_module: RunModule) -> None:
    path = tmp_path / "users"
    run_module("nginx_users", {"path": str(path), "users": USERS})

    run_module("nginx_users", {"path": str(path), "users": {"radiology": USERS["radiology"]}})

    assert "emergency" not in path.read_text()


def test_a_check_run_writes_nothing(tmp_path: Path, run_module: RunModule) -> None:
    path = tmp_path / "users"

    assert run_module("nginx_users", {"path": str(path), "users": USERS}, check=True)["changed"]
    assert not path.exists()


def test_a_name_that_would_make_a_second_line_is_refused(tmp_path: Path, run_module: RunModule) -> None:
    refused = run_module("nginx_users", {"path": str(tmp_path / "users"), "users": {"a\nb": "a-long-password"}})

    assert refused["failed"]
