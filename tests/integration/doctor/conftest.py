"""A site that is well, in a folder of its own; each test makes it ill in one way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import CommandLine, Site, cli, site
from tests.support.network import accepts, eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.services import SupervisedHost

from pacsops.doctor.checks import destinations as checks
from pacsops.orthanc import ensure
from pacsops.services import read_host, runtime_of

__all__ = ["cli", "site"]  # fixtures

GOOD_SETTINGS = {
    "JobsHistorySize": 300,
    "ConcurrentJobs": 32,
    "SaveJobs": False,
    "DicomModalitiesInDatabase": True,
    "DatabaseServerIdentifier": "HOSPITAL",
    "StableAge": 60,
    "OverwriteInstances": False,
}


class Findings(list[dict[str, Any]]):
    """What `orthanc doctor --json` said."""

    def of(self, check: str, subject: str | None = None) -> dict[str, Any]:
        """The one finding of a check (about a subject)."""
        [found] = [one for one in self if one["id"] == check and subject in (None, one["subject"])]
        return found

    @property
    def ill(self) -> set[tuple[str, str]]:
        return {(one["id"], one["severity"]) for one in self if one["severity"] != "ok"}


def examined(cli: CommandLine, *only: str) -> Findings:
    arguments = [word for check in only for word in ("--only", check)]
    return Findings(cli.json("doctor", *arguments)["checks"])


def set_in(cli: CommandLine, **values: object) -> None:
    """Further lines of the .env."""
    said = "".join(f"{name}={value}\n" for name, value in values.items())
    cli.env_file.write_text(cli.env_file.read_text() + said)


def orthanc_json(home: Path, **changed: Any) -> None:
    """The orthanc.json of a good site, with these settings changed or (None) left out."""
    said = {key: value for key, value in {**GOOD_SETTINGS, **changed}.items() if value is not None}
    (home / "config" / "orthanc" / "orthanc.json").write_text(json.dumps(said))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs tests is no slow destination; those of a test that is about it say so."""
    monkeypatch.setattr(checks, "SLOW_MS", 20_000)


@pytest.fixture(scope="session")
def running_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedHost]:
    """A supervisor with two services that run and serve."""
    host = SupervisedHost(tmp_path_factory.mktemp("supervised"))
    known = read_host(host.file)
    subprocess.run(known.begin, check=True, capture_output=True, timeout=60)
    runtime = runtime_of(known)
    eventually(
        lambda: all(state.condition == "running" for state in runtime.states().values()) and accepts(host.port),
        what="the supervisor's services running",
    )
    yield host
    subprocess.run([*host.control, "shutdown"], capture_output=True, check=False, timeout=60)


@pytest.fixture
def home(cli: CommandLine, running_host: SupervisedHost) -> Path:
    """The folder of the site, as a deployment leaves it."""
    set_in(cli, SERVICES_FILE=running_host.file)
    cli.env_file.chmod(0o600)
    folder = cli.env_file.parent
    (folder / "config" / "orthanc").mkdir(parents=True)
    (folder / "logs").mkdir()
    orthanc_json(folder)
    return folder


@pytest.fixture
def well(site: Site, home: Path, orthanc: OrthancServer) -> Iterator[Site]:
    """Every part answers, every destination too; a backup was made and restored on trial."""
    with Peer("MERCURE") as mercure, Peer("MODLINK") as modlink:
        for peer in (mercure, modlink):
            ensure(orthanc.client, peer.modality())
        site.routes_in_force()
        site.router_is_alive()
        for kind in ("backup", "verify"):
            backup_run(site, kind)
        yield site


def backup_run(site: Site, kind: str, *, days_ago: float = 0, ok: bool = True) -> None:
    with site.database.transaction() as tx:
        tx.run(
            "CREATE TABLE IF NOT EXISTS backup_run (kind text NOT NULL, started_at timestamptz NOT NULL,"
            " finished_at timestamptz, ok boolean, detail jsonb NOT NULL DEFAULT '{}')"
        )
        tx.run(
            "INSERT INTO backup_run (kind, started_at, finished_at, ok) VALUES"
            " (%(kind)s, now() - %(age)s * interval '1 day', now() - %(age)s * interval '1 day', %(ok)s)",
            kind=kind,
            age=days_ago,
            ok=ok,
        )
