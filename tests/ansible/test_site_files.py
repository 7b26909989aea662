"""A role's folders and files, put in place in one go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.ansible.conftest import RunModule


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def configuration(folder: Path, **file: Any) -> dict[str, Any]:
    return {
        "folders": [{"path": str(folder / "config"), "mode": "0750"}],
        "files": [{"path": str(folder / "config" / "orthanc.json"), "content": "{}\n", **file}],
    }


def test_what_is_missing_is_made_and_a_second_run_changes_nothing(tmp_path: Path, run_module: RunModule) -> None:
    asked = configuration(tmp_path, mode="0640")

    first, second = run_module("site_files", asked), run_module("site_files", asked)

    file = tmp_path / "config" / "orthanc.json"
    assert first["paths"] == [str(tmp_path / "config"), str(file)]
    assert (file.read_text(), mode(file), mode(tmp_path / "config")) == ("{}\n", "0640", "0750")
    assert not second["changed"]
    assert second["diff"] == []


def test_a_check_run_says_what_would_change_and_changes_nothing(tmp_path: Path, run_module: RunModule) -> None:
    asked = configuration(tmp_path)

    result = run_module("site_files", asked, check=True)

    assert result["changed"]
    assert result["diff"][0]["after"] == "{}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_mode_that_somebody_changed_is_put_right(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_files", configuration(tmp_path))
    file = tmp_path / "config" / "orthanc.json"
    file.chmod(0o666)

    assert run_module("site_files", configuration(tmp_path))["paths"] == [str(file)]
    assert mode(file) == "0644"


def test_what_somebody_edited_is_shown_and_put_right(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_files", configuration(tmp_path))
    (tmp_path / "config" / "orthanc.json").write_text('{"Name": "x"}\n')

    result = run_module("site_files", configuration(tmp_path))

    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ('{"Name": "x"}\n', "{}\n")


def test_nothing_is_written_when_one_file_is_not_valid(tmp_path: Path, run_module: RunModule) -> None:
    asked = configuration(tmp_path)
    asked["files"].append({"path": str(tmp_path / "bad.json"), "content": "{", "validate": ["grep", "-q", "}", "%s"]})

    result = run_module("site_files", asked)

    assert result["failed"]
    assert "bad.json would not be valid, nothing was written" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_in_its_file_and_nowhere_else(tmp_path: Path, run_module: RunModule) -> None:
    asked = configuration(tmp_path)
    asked["files"] = [{"path": str(tmp_path / ".env"), "secret": "PASSWORD=lethe-4711\n", "mode": "0600"}]

    result = run_module("site_files", asked)

    assert (tmp_path / ".env").read_text() == "PASSWORD=lethe-4711\n"
    assert mode(tmp_path / ".env") == "0600"
    assert "lethe" not in str(result)


def test_a_file_is_never_readable_by_others_while_it_is_written(tmp_path: Path, run_module: RunModule) -> None:
    """Also where the deploying person's files are for everybody to read."""
    former = os.umask(0)
    try:
        asked = configuration(tmp_path)
        asked["files"] = [{"path": str(tmp_path / ".env"), "secret": "PASSWORD=lethe-4711\n", "mode": "0600"}]
        run_module("site_files", asked)
    finally:
        os.umask(former)

    assert mode(tmp_path / ".env") == "0600"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("..env.")] == []
