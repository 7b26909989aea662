"""A site as an operator meets it: its settings file, deliveries in every state, and the command line."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from hashlib import sha1
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer

from pacsops.cli.main import orthanc as orthanc_command
from pacsops.database import Database
from pacsops.delivery import desk, outcomes
from pacsops.delivery.claims import claim
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.model import Delivery, ErrorClass
from pacsops.delivery.planner import StudyIdentity
from pacsops.delivery.retry import Failure
from pacsops.delivery.studies import Evaluation, evaluated
from pacsops.delivery.versions import note_routes
from pacsops.orthanc import ensure
from pacsops.routes import RetryPolicy, Route, Selection, load_routes
from pacsops.settings import Settings

ROUTES = """\
routes:
  - name: bone_length_to_ai
    match:
      study_description: {contains: Leg Length}
    action: {send: highest_resolution, to: MERCURE}
  - name: results_to_modlink
    match:
      modality: SR
    action: {to: MODLINK}
"""
_TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "50"}
_COMMAND = [sys.executable, "-m", "pacsops.cli.main"]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`orthanc` with the site's settings: in this process, or in one of its own on a pipe or a terminal."""

    env_file: Path

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner().invoke(orthanc_command, arguments, env=self._environment, prog_name="orthanc")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def json(self, *arguments: str) -> Any:
        """The one JSON object a command prints on stdout, whatever it exits with."""
        answer = json.loads(self(*arguments, "--json").stdout)
        assert answer["schema_version"] == 1
        return answer

    def piped(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """In a process without a terminal."""
        return subprocess.run(
            [*_COMMAND, *arguments],
            env={**os.environ, **self._environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def on_terminal(
        self, *arguments: str, answers: str = "", columns: int = 80, **environment: str
    ) -> tuple[int, str]:
        """In a process on a terminal of so many columns, with `answers` typed in. Exit status and all it shows."""
        ours, theirs = pty.openpty()
        terminal = {**_TERMINAL, "COLUMNS": str(columns), **environment}
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            env={**os.environ, **self._environment, **terminal},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, answers.encode())
        shown = bytearray()
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed: EIO on Linux
                break
            if not chunk:
                break
            shown += chunk
        os.close(ours)
        return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")

    def on_screen(self, *arguments: str, **environment: str) -> Watched:
        """In a process on a terminal that goes on until it is interrupted."""
        return Watched([*_COMMAND, *arguments], {**os.environ, **self._environment, **_TERMINAL, **environment})

    @property
    def _environment(self) -> dict[str, str]:
        return {"ORTHANC_ENV": str(self.env_file)}


class Watched:
    """A command that goes on, and what it has shown since it was last looked at."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._shown = bytearray()

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            # A test run in a shell's background has Ctrl-C ignored, and so would its children.
            ["/usr/bin/env", "--default-signal=INT", *self._command],
            env=self._environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def shows(self, text: str) -> None:
        """Wait until it has shown this; what it showed so far is forgotten then."""
        eventually(lambda: text in self._read(), within=30, what=f"{text!r} being shown")
        self._shown.clear()

    def interrupted(self) -> int:
        """Ctrl-C; the exit status."""
        self._process.send_signal(signal.SIGINT)
        eventually(lambda: self._read() is not None and self._process.poll() is not None, within=20)
        return self._process.wait()

    def _read(self) -> str:
        with suppress(BlockingIOError, OSError):
            while chunk := os.read(self._ours, 65536):
                self._shown += chunk
        return self._shown.decode(errors="replace")


class Site:
    """The database behind a command line, and the ways a router would fill it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database

    def routes_in_force(self, text: str = ROUTES) -> None:
        table = load_routes(text)
        self.settings.routes_file.write_text(text)
        note_routes(self.database, hash_=table.hash, text=text, accepted=True, problems=[])

    def router_is_alive(self, **detail: Any) -> None:
        ROUTER.beat(self.database, "host:1", detail)

    def promise(
        self,
        name: str = "a study",
        *,
        to: str = "MERCURE",
        route: str = "bone_length_to_ai",
        accession: str | None = None,
        patient: str = "DOE^JOHN",
        attempts: int = 3,
    ) -> Delivery:
        """A study of this name, and one delivery of it that waits to be sent. Each name has its own identifiers."""
        digest = sha1(name.encode()).hexdigest()
        study_id = "-".join(digest[start : start + 8] for start in range(0, 40, 8))
        rule = Route(
            name=route,
            match=(),
            destinations=(to,),
            retry=RetryPolicy(max_attempts=attempts, initial_delay=600),
        )
        study = StudyIdentity(
            source="orthanc",
            study_id=study_id,
            study_uid=f"2.25.{int(digest, 16)}",
            accession_number=accession,
            patient_name=patient,
            patient_id="MRN-1",
            study_description="Bilateral Leg Length",
            study_date=None,
        )
        evaluation = Evaluation(
            study=study,
            as_of_seq=1,
            last_update="20260203T103015",
            instance_count=2,
            sender_aet="CR_ROOM1",
            matched_routes=(route,),
            selections=(Selection(rule, to, "study", study_id, ("instance-1", "instance-2")),),
            route_version="0" * 64,
        )
        with self.database.transaction() as tx:
            (number,) = evaluated(tx, evaluation).new
        return self.delivery(number)

    def fail(
        self,
        delivery: Delivery,
        reason: str = "connection refused",
        error_class: ErrorClass = ErrorClass.REFUSED,
    ) -> Delivery:
        """One attempt that comes to nothing: the delivery waits for another, or is stuck after its last."""
        (taken,) = claim(self.database, "host:1")
        assert taken.delivery_id == delivery.id
        outcomes.submitted(self.database, taken, "job-123")
        outcomes.fail(self.database, taken, Failure(error_class, reason))
        return self.delivery(delivery.id)

    def stuck(self, name: str = "a study", **promised: Any) -> Delivery:
        """Stuck after its only attempt, by a refused connection: its destination counts as down from then on."""
        return self.fail(self.promise(name, attempts=1, **promised))

    def refused(self, name: str = "a study", **promised: Any) -> Delivery:
        """Stuck at once: the destination is there and does not take the images."""
        return self.fail(self.promise(name, **promised), "status 0xC000", ErrorClass.PEER_STATUS)

    def succeed(self, delivery: Delivery) -> Delivery:
        (taken,) = claim(self.database, "host:1")
        outcomes.submitted(self.database, taken, "job-124")
        outcomes.finish(self.database, taken, duration_ms=1500)
        return self.delivery(delivery.id)

    def delivery(self, number: int) -> Delivery:
        [found] = [delivery for delivery in desk.deliveries(self.database) if delivery.id == number]
        return found


@pytest.fixture
def site(settings: Settings, database: Database, tmp_path: Path) -> Iterator[Site]:
    """A migrated, empty site; its Orthanc does not answer unless the test asks for one."""
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    files = {"routes_file": tmp_path / "routes.yml", "services_file": tmp_path / "services.json"}
    yield Site(Settings(**{**values, **files}), database)


@pytest.fixture
def healthy(site: Site, orthanc: OrthancServer) -> Iterator[Site]:
    """Orthanc, PostgreSQL and router answer, every destination of the routes is configured."""
    with Peer("MERCURE") as mercure, Peer("MODLINK") as modlink:
        for peer in (mercure, modlink):
            ensure(orthanc.client, peer.modality())
        site.routes_in_force()
        site.router_is_alive()
        yield site


@pytest.fixture
def cli(site: Site, tmp_path: Path) -> CommandLine:
    env_file = tmp_path / ".env"
    names = [field.name for field in fields(Settings) if field.name != "env_file"]
    said = {name: getattr(site.settings, name) for name in names}
    env_file.write_text("".join(f"{name.upper()}={value}\n" for name, value in said.items() if value is not None))
    return CommandLine(env_file)
