from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.forwarding import ForwardingSite

from pacsops.delivery import breaker
from pacsops.settings import Settings


@pytest.fixture
def forwarding(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardingSite]:
    """A gateway's forwarder, not started yet, that probes what is down every half second."""
    monkeypatch.setattr(breaker, "PROBE_INTERVAL_SECONDS", 0.5)
    with ForwardingSite(settings, tmp_path) as site:
        yield site
