"""A site with a study in its Orthanc, and a repository to back it up into."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.support.backup import BackedUpSite
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer

from pacsops.settings import Settings


@pytest.fixture(scope="module")
def indexed_orthanc(postgres_server: PostgresServer) -> Iterator[OrthancServer]:
    """An Orthanc whose index is in PostgreSQL."""
    postgres_server.ensure_running()
    with OrthancServer(postgres=postgres_server) as server:
        yield server


@pytest.fixture
def backed_up(settings: Settings, indexed_orthanc: OrthancServer, postgres: PostgresServer) -> Iterator[BackedUpSite]:
    """An empty site, all of it running."""
    indexed_orthanc.ensure_running()
    indexed_orthanc.clear()
    for left in indexed_orthanc.storage.iterdir():  # by a test that put something of its own there
        left.unlink() if left.is_file() else shutil.rmtree(left)
    with BackedUpSite(indexed_orthanc.settings(of=settings), indexed_orthanc, postgres) as site:
        yield site
