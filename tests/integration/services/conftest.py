"""Programs of runtimes that are not here, which print what they printed where they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.services import Programs


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Programs(tmp_path)
