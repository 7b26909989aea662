from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.orthanc import OrthancServer
from tests.support.router import RoutedSite

from pacsops.delivery import breaker
from pacsops.settings import Settings


@pytest.fixture
def site(settings: Settings, orthanc: OrthancServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoutedSite]:
    """A site whose router is not started yet, and that probes what is down every half second."""
    monkeypatch.setattr(breaker, "PROBE_INTERVAL_SECONDS", 0.5)
    with RoutedSite(settings, orthanc) as site:
        yield site
