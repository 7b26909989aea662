"""Docker Compose, systemd and supervisor behind one set of verbs: how services stand, start, stop."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pacsops.errors import RuntimeRefused
from pacsops.services.host import Host, Service
from pacsops.services.program import Said, refusal, run

Condition = Literal["running", "starting", "stopped", "failed"]

_BEGIN_SECONDS = 30.0
_GRACE_SECONDS = 30.0  # what a runtime takes beyond the seconds a service is given


@dataclass(frozen=True, slots=True)
class State:
    """How a service stands. `healthy` None: its runtime does not know, ask the service itself."""

    condition: Condition
    said: str
    """In the runtime's own words."""
    healthy: bool | None = None


class Runtime(Protocol):
    """What runs the services of a host.

    Every method raises NeedsRoot when this user may not, RuntimeRefused when the runtime fails or is not there.
    """

    def states(self) -> dict[str, State]:
        """How each service of this host stands, by name."""
        ...

    def start(self, service: Service) -> None:
        """Start one that does not run. Its health is another matter."""
        ...

    def stop(self, service: Service) -> None:
        """Stop one, and return when it has ended."""
        ...


def runtime_of(host: Host) -> Runtime:
    """The runtime that the deployment chose for this host."""
    match host.runtime:
        case "compose":
            return Compose(host)
        case "systemd":
            return Systemd(host)
        case "supervisor":
            return Supervisor(host)


class Compose:
    """Services as containers. https://docs.docker.com/reference/cli/docker/compose/"""

    def __init__(self, host: Host) -> None:
        self._host = host

    def states(self) -> dict[str, State]:
        said = self._run("ps", "--all", "--format", "json")
        found = {each["Service"]: _container(each) for each in _objects(said.out)}
        absent = State("stopped", "there is no container")
        return {name: found.get(service.unit, absent) for name, service in self._host.services.items()}

    def start(self, service: Service) -> None:
        # `start` would not make a container that somebody removed; and nothing is made anew here, or built.
        words = ("up", "--detach", "--no-recreate", "--no-build", "--no-deps", service.unit)
        self._run(*words, seconds=self._host.start_seconds + _GRACE_SECONDS)

    def stop(self, service: Service) -> None:
        self._run("stop", service.unit, seconds=service.stop_seconds + _GRACE_SECONDS)

    def _run(self, *words: str, seconds: float = 30) -> Said:
        return run([*self._host.control, *words], command=self._host.command, seconds=seconds)


def _objects(listed: str) -> list[Mapping[str, str]]:
    """`ps --format json`: one list before Compose 2.21, then one object a line."""
    text = listed.strip()
    if text.startswith("["):
        rows: list[Mapping[str, str]] = json.loads(text)
        return rows
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _container(row: Mapping[str, str]) -> State:
    health, state = row.get("Health", ""), row["State"]
    said = row.get("Status") or state
    if state == "running":
        return State("starting" if health == "starting" else "running", said, healthy=health in ("healthy", ""))
    if state == "restarting":
        return State("failed", said, healthy=False)
    # 137: SIGKILL after its grace, which is how some stop.
    crashed = state == "dead" or (state == "exited" and str(row.get("ExitCode", 0)) not in {"0", "137", "143"})
    return State("failed" if crashed else "stopped", said, healthy=False)


class Systemd:
    """Services as units. systemctl(1)"""

    _ASKED = ("Id", "LoadState", "ActiveState", "SubState", "Result")

    def __init__(self, host: Host) -> None:
        self._host = host

    def states(self) -> dict[str, State]:
        units = [service.unit for service in self._host.services.values()]
        said = self._run("show", f"--property={','.join(self._ASKED)}", *units)
        blocks = [
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            for block in said.out.strip().split("\n\n")
        ]
        found = {block["Id"]: _unit(block) for block in blocks if "Id" in block}
        unknown = State("stopped", "systemd does not know the unit")
        return {name: found.get(service.unit, unknown) for name, service in self._host.services.items()}

    def start(self, service: Service) -> None:
        # `reset-failed` forgets that it was started too often; it is no failure that there is nothing to forget.
        self._run("reset-failed", service.unit, allow=(0, 1))
        self._run("start", service.unit, seconds=self._host.start_seconds + _GRACE_SECONDS)

    def stop(self, service: Service) -> None:
        self._run("stop", service.unit, seconds=service.stop_seconds + _GRACE_SECONDS)

    def _run(self, *words: str, seconds: float = 30, allow: Sequence[int] = (0,)) -> Said:
        return run([*self._host.control, *words], command=self._host.command, seconds=seconds, allow=allow)


def _unit(block: Mapping[str, str]) -> State:
    active, sub = block["ActiveState"], block["SubState"]
    said = f"{active} ({sub})"
    if block["LoadState"] == "not-found":
        return State("stopped", "systemd does not know the unit")
    if active == "failed":
        return State("failed", f"failed ({block['Result']})")
    if sub == "auto-restart":
        return State("failed", f"it ends as soon as it is started ({block['Result']})")
    conditions: Mapping[str, Condition] = {"active": "running", "activating": "starting", "reloading": "running"}
    return State(conditions.get(active, "stopped"), said)


class Supervisor:
    """Services as programs of a supervisor of the site's own. http://supervisord.org/running.html"""

    _NOT_THERE = re.compile(r"no such file|refused connection", re.IGNORECASE)

    def __init__(self, host: Host) -> None:
        self._host = host

    def states(self) -> dict[str, State]:
        argv = [*self._host.control, "status"]
        # 3: some do not run; 4 and 7: there is no supervisor.
        said = run(argv, command=self._host.command, seconds=30, allow=(0, 3, 4, 7))
        lines = dict(re.findall(r"^(\S+)\s+([A-Z]+.*)$", said.out, re.MULTILINE))
        if not lines and not self._NOT_THERE.search(said.out + said.error):
            raise refusal(argv, said, self._host.command)
        absent = "STOPPED  the supervisor does not run" if not lines else "STOPPED  the supervisor does not know it"
        return {name: _program(lines.get(service.unit, absent)) for name, service in self._host.services.items()}

    def start(self, service: Service) -> None:
        if run([*self._host.control, "pid"], command=self._host.command, allow=(0, 1, 2, 4, 7)).code != 0:
            # It starts every service at once; each waits for what it needs.
            run(self._host.begin, command=self._host.command, seconds=_BEGIN_SECONDS)
        self._tell("start", service, fine="already started", seconds=self._host.start_seconds + _GRACE_SECONDS)

    def stop(self, service: Service) -> None:
        self._tell("stop", service, fine="not running", seconds=service.stop_seconds + _GRACE_SECONDS)

    def _tell(self, verb: str, service: Service, *, fine: str, seconds: float) -> None:
        argv = [*self._host.control, verb, service.unit]
        said = run(argv, command=self._host.command, seconds=seconds, allow=range(256))
        # supervisorctl ends with 0 over most errors: its words count.
        if "ERROR" in said.out and fine not in said.out:
            raise RuntimeRefused(f"{service.title}: {said.reason}", hint=f"orthanc logs --service {service.name}")
        if said.code != 0 and "ERROR" not in said.out:
            raise refusal(argv, said, self._host.command)


_PROGRAM_STATES: Mapping[str, Condition] = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "failed",
    "FATAL": "failed",
}


def _program(line: str) -> State:
    """`RUNNING   pid 1234, uptime 0:00:03`"""
    word, _, said = line.partition(" ")
    return State(_PROGRAM_STATES.get(word, "stopped"), said.strip() or word.lower())
