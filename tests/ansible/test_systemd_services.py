"""How a deployment tells that a service runs with another configuration than its unit file names.

What systemd itself does is proved on hosts that run it, in molecule/systemd.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.ansible.conftest import CHECKOUT
from tests.support.network import eventually


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("systemd_services", CHECKOUT / "library" / "systemd_services.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_a_process_is_asked_for_the_configuration_it_was_started_with(module: ModuleType) -> None:
    environment = {**os.environ, "CONFIGURATION": "0f3a"}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE, text=True
    ) as process:
        # The kernel lays the environment down a moment after the program has begun.
        eventually(lambda: module.running(str(process.pid)) == "0f3a", within=10, what="the configuration being seen")
        process.communicate("\n")


def test_a_process_that_is_gone_has_none(module: ModuleType) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()

    assert module.running(str(gone.pid)) is None


def test_a_unit_file_is_asked_for_the_configuration_it_names(module: ModuleType, tmp_path: Path) -> None:
    unit = tmp_path / "pacsops-router.service"
    unit.write_text("[Service]\nEnvironment=CONFIGURATION=77ab\nExecStart=/bin/true\n")

    assert module.configured(unit) == "77ab"
    assert module.configured(tmp_path / "pacsops-none.service") is None


def test_a_process_that_hides_its_environment_is_judged_by_its_age(module: ModuleType, tmp_path: Path) -> None:
    """As nginx does. A unit file is written before the process it starts, and after the one it replaces."""
    unit = tmp_path / "pacsops-viewer.service"
    unit.write_text("[Service]\nEnvironment=CONFIGURATION=77ab\n")
    written = int(unit.stat().st_mtime)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()

    assert module.outdated(unit, str(gone.pid), f"@{written - 60}")
    assert not module.outdated(unit, str(gone.pid), f"@{written}")


def test_a_target_is_never_outdated(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pacsops.target").write_text("[Unit]\n")

    assert not module.outdated(tmp_path / "pacsops.target", 0, "")
