"""Renewing secrets: what is put aside, what an interrupted run leaves, and that no value is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.ansible.conftest import RunModule

NAMES = ["orthanc", "database", "viewer"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("orthanc", "database"):
        (tmp_path / name).write_text(f"old-{name}\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def asked(folder: Path, state: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"folder": str(folder), "names": NAMES if names is None else names, "state": state}


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def test_the_old_secrets_are_put_aside_closed_and_untold(folder: Path, run_module: RunModule) -> None:
    result = run_module("site_secrets", asked(folder, "renewed"))

    assert (result["changed"], result["names"]) == (True, ["database", "orthanc"])
    assert contents(folder) == {"database.previous": "old-database", "orthanc.previous": "old-orthanc"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert "old-" not in str(result)


def test_a_renewal_that_was_cut_short_is_gone_on_with(folder: Path, run_module: RunModule) -> None:
    run_module("site_secrets", asked(folder, "renewed", ["orthanc"]))
    (folder / "orthanc").write_text("new-orthanc\n")

    again = run_module("site_secrets", asked(folder, "renewed"))

    assert (again["names"], again["unfinished"]) == (["database"], ["orthanc"])
    assert contents(folder)["orthanc"] == "new-orthanc"


def test_settled_is_when_the_old_ones_are_gone_and_the_new_ones_stay(folder: Path, run_module: RunModule) -> None:
    run_module("site_secrets", asked(folder, "renewed", ["orthanc"]))
    (folder / "orthanc").write_text("new-orthanc\n")

    first = run_module("site_secrets", asked(folder, "settled"))
    second = run_module("site_secrets", asked(folder, "settled"))

    assert (first["names"], first["changed"], second["changed"]) == (["orthanc"], True, False)
    assert contents(folder) == {"database": "old-database", "orthanc": "new-orthanc"}


@pytest.mark.parametrize("state", ["renewed", "settled"])
def test_a_check_run_tells_and_leaves(folder: Path, state: str, run_module: RunModule) -> None:
    (folder / "viewer.previous").write_text("old-viewer\n")
    before = contents(folder)

    assert run_module("site_secrets", asked(folder, state), check=True)["changed"]
    assert contents(folder) == before
