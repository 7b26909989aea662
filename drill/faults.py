"""What goes wrong: each fault begins, lasts a while, and ends. Several are in force at a time."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from drill.peers import ABORT, SILENCE, set_mood
from drill.site import MOODY, Site, signal_to
from pacsops.errors import DatabaseUnreachable
from pacsops.gateway import faults as receivers_faults

End = Callable[[], None]
_PAUSE_SECONDS: Final = (0.2, 1.5)
"""From one fault to the next."""
_TAKING_OVER_SECONDS: Final = 6.0
"""A new forwarder starts, and looks for claims that nobody holds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    begin: Callable[[Site, random.Random], End | None]
    """Returns what ends it; None: there is nothing to end."""
    seconds: tuple[float, float] = (0.0, 0.0)
    """How long it lasts."""


def _kill(part: str, site: Site, dice: random.Random) -> None:
    if parts := site.parts(part):
        signal_to(dice.choice(parts), signal.SIGKILL)


def _kill_gateway(site: Site, _: random.Random) -> End:
    site.kill_gateway()
    return site.start_gateway


def _freeze(part: str, site: Site, dice: random.Random) -> End | None:
    parts = site.parts(part)
    if not parts:
        return None
    chosen = dice.choice(parts)
    signal_to(chosen, signal.SIGSTOP)
    return partial(signal_to, chosen, signal.SIGCONT)


def _supersede(site: Site, dice: random.Random) -> End | None:
    """Frozen past its leases: another forwarder takes over, and then the first one goes on as if nothing had been.

    The minute that a lease lasts is put forward instead of being waited for.
    """
    thaw = _freeze("forwarder", site, dice)
    if thaw is None:
        return None
    with suppress(DatabaseUnreachable), site.database.transaction() as tx:
        tx.run("UPDATE routing_state SET lease_until = now() WHERE lease_until IS NOT NULL")
    other = site.start_forwarder()

    def end() -> None:
        thaw()
        time.sleep(0.5)
        other.kill()
        other.wait()

    return end


def _stop_postgres(site: Site, _: random.Random) -> End:
    site.postgres.stop("immediate")
    return site.postgres.start


def _inject(fault: str, value: float | None, site: Site, _: random.Random) -> End:
    receivers_faults.inject(site.spool, fault, value)

    def end() -> None:
        receivers_faults.clear(site.spool)

    return end


def _cut(site: Site, _: random.Random) -> None:
    site.wire.cut()


def _swallow(site: Site, _: random.Random) -> End:
    site.wire.swallows = True

    def end() -> None:
        site.wire.swallows = False
        site.wire.cut()  # what was swallowed will not come any more

    return end


def _slow(site: Site, _: random.Random) -> End:
    site.wire.bytes_per_second = 1000

    def end() -> None:
        site.wire.bytes_per_second = None

    return end


def _mood(mood: str, site: Site, _: random.Random) -> End:
    return set_mood(site.folder, MOODY, mood)


FAULTS: Final[Mapping[str, Fault]] = {
    "receiver killed": Fault(partial(_kill, "receiver")),
    "forwarder killed": Fault(partial(_kill, "forwarder")),
    "gateway killed": Fault(_kill_gateway, (0.1, 1.5)),
    "receiver frozen": Fault(partial(_freeze, "receiver"), (0.5, 4.0)),
    "forwarder frozen": Fault(partial(_freeze, "forwarder"), (0.5, 4.0)),
    "forwarder frozen past its leases": Fault(_supersede, (_TAKING_OVER_SECONDS, _TAKING_OVER_SECONDS + 4)),
    "PostgreSQL cut off": Fault(_stop_postgres, (0.3, 5.0)),
    "disk full": Fault(partial(_inject, "disk_full", None), (1.0, 3.0)),
    "disk slow": Fault(partial(_inject, "io_delay_ms", 200.0), (1.0, 3.0)),
    "images refused": Fault(partial(_inject, "random_fail_rate", 0.5), (1.0, 3.0)),
    "associations rejected": Fault(partial(_inject, "reject_all", None), (1.0, 3.0)),
    "connections reset": Fault(_cut),
    "black hole": Fault(_swallow, (1.0, 6.0)),
    "1 kB/s": Fault(_slow, (1.0, 6.0)),
    "peer answers A700": Fault(partial(_mood, "A700"), (1.0, 4.0)),
    "peer answers C000": Fault(partial(_mood, "C000"), (0.5, 2.0)),
    "peer aborts": Fault(partial(_mood, ABORT), (1.0, 4.0)),
    "peer is silent": Fault(partial(_mood, SILENCE), (1.0, 6.0)),
}
_ALIKE: Final = (
    ("gateway killed", "receiver frozen", "forwarder frozen", "forwarder frozen past its leases"),
    ("disk full", "disk slow", "images refused", "associations rejected"),
    ("peer answers A700", "peer answers C000", "peer aborts", "peer is silent"),
)
"""Of each of these, one at a time."""


class Mischief:
    """Begins faults at random and ends them in time. `step` is called often.

    Args:
        names: the faults there may be.
    """

    def __init__(self, site: Site, dice: random.Random, names: list[str]) -> None:
        self._site = site
        self._dice = dice
        self._names = names
        self._in_force: dict[str, tuple[float, End]] = {}
        self._next = time.monotonic() + 1.0
        self.counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def step(self) -> None:
        now = time.monotonic()
        self._end(now)
        if now >= self._next:
            self._next = now + self._dice.uniform(*_PAUSE_SECONDS)
            self._begin(self._dice.choice(self._names))

    def over(self) -> None:
        """Nothing is wrong any more."""
        self._end(float("inf"))

    def _begin(self, name: str) -> None:
        if any(name in alike and self._in_force.keys() & alike for alike in (*_ALIKE, (name,))):
            return
        fault = FAULTS[name]
        end = fault.begin(self._site, self._dice)
        self.counts[name] = self.counts.get(name, 0) + 1
        if end is not None:
            self._in_force[name] = time.monotonic() + self._dice.uniform(*fault.seconds), end

    def _end(self, now: float) -> None:
        for name, (until, end) in list(self._in_force.items()):
            if until <= now:
                del self._in_force[name]
                end()
