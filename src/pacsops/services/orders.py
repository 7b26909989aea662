"""Starting and stopping the services of a host in their order, and waiting until they serve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pacsops.services.health import trouble
from pacsops.services.host import Host, Service
from pacsops.services.runtimes import Runtime, State
from pacsops.settings import Settings

_LOOK_AGAIN_SECONDS = 0.3

Outcome = Literal["started", "stopped", "runs already", "stopped already", "does not serve", "not started"]


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one service."""

    service: Service
    outcome: Outcome
    seconds: float
    trouble: str | None = None

    @property
    def changed(self) -> bool:
        return self.outcome in ("started", "stopped", "does not serve")

    @property
    def failed(self) -> bool:
        return self.trouble is not None


def start(host: Host, runtime: Runtime, settings: Settings, services: Sequence[Service]) -> Iterator[Step]:
    """Start what does not run of these, those they need first; each serves before the next is started.

    One that does not serve within the seconds the deployment gives it keeps those that need it from being started.
    """
    states = runtime.states()
    failing: dict[str, str] = {}
    for service in host.with_needs(services):
        waits_for = next((failing[name] for name in service.after if name in failing), None)
        if waits_for is not None:
            failing[service.name] = waits_for
            yield Step(service, "not started", 0.0, f"{waits_for} does not serve")
            continue
        since = time.monotonic()
        ran = states[service.name].condition in ("running", "starting")
        if not ran:
            runtime.start(service)
        wrong = _await(service, runtime, settings, within=host.start_seconds)
        seconds = time.monotonic() - since
        if wrong is None:
            yield Step(service, "runs already" if ran else "started", seconds)
        else:
            failing[service.name] = service.title
            yield Step(service, "does not serve", seconds, wrong)


def stop(host: Host, runtime: Runtime, services: Sequence[Service]) -> Iterator[Step]:
    """Stop what runs of these, in the opposite order of starting."""
    states = runtime.states()
    chosen = {service.name for service in services}
    for service in reversed([service for name, service in host.services.items() if name in chosen]):
        if is_off(states[service.name]):
            yield Step(service, "stopped already", 0.0)
            continue
        since = time.monotonic()
        runtime.stop(service)
        yield Step(service, "stopped", time.monotonic() - since)


def is_off(state: State) -> bool:
    """Whether there is nothing to stop. A service that failed is: its runtime would start it again."""
    return state.condition == "stopped"


def _await(service: Service, runtime: Runtime, settings: Settings, *, within: float) -> str | None:
    """What is wrong with a service when its time is up, None as soon as it serves."""
    deadline = time.monotonic() + within
    while (wrong := _trouble(service, runtime, settings)) is not None and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_SECONDS)
    return wrong


def _trouble(service: Service, runtime: Runtime, settings: Settings) -> str | None:
    state = runtime.states()[service.name]
    if state.condition in ("stopped", "failed"):
        return state.said
    if state.healthy is not None:
        return None if state.healthy else state.said
    return trouble(service.health, settings)
