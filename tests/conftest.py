"""Real parts for every test that names them: PostgreSQL, a migrated database, Orthanc."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer

from pacsops.database import Database
from pacsops.database.migrate import migrate
from pacsops.settings import Settings

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile(
    "pacsops", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pacsops")

# A script's background ignores Ctrl-C, and so would the commands under test that are to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What nobody closed is told of where rubbish is collected: it would be in the output of whichever command runs then.
sys.unraisablehook = lambda unraisable: None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write the golden files anew (make golden)")


_LOG_TAIL = 6000  # characters


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that is run within a test says where logs go: the next test shall not hear of it."""
    logger = logging.getLogger("pacsops")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated, empty database that nobody is connected to."""
    settings = postgres_server.create_database()
    database = Database(settings)
    migrate(database)
    database.close()
    return settings.postgres_db


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> PostgresServer:
    """The session's PostgreSQL, running, whatever the test before did to it."""
    postgres_server.ensure_running()
    return postgres_server


@pytest.fixture
def settings(request: pytest.FixtureRequest, postgres: PostgresServer, migrated_template: str) -> Iterator[Settings]:
    """Settings of a fresh migrated database, and of the test's Orthanc where it uses one."""
    settings = postgres.create_database(template=migrated_template)
    if "orthanc" in request.fixturenames:
        server: OrthancServer = request.getfixturevalue("orthanc")
        settings = server.settings(of=settings)
    yield settings
    postgres.ensure_running()
    postgres.drop_database(settings.postgres_db)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """pacsops' database behind `settings`: fresh and migrated."""
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[OrthancServer]:
    with OrthancServer() as server:
        yield server


@pytest.fixture
def orthanc(orthanc_server: OrthancServer) -> OrthancServer:
    """The session's Orthanc, running and empty, whatever the test before did to it."""
    orthanc_server.ensure_running()
    orthanc_server.clear()
    return orthanc_server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its servers logged."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        for server in {value for value in used if isinstance(value, OrthancServer | PostgresServer)}:
            report.sections.append((f"log of {type(server).__name__}", server.log[-_LOG_TAIL:]))
    return report
