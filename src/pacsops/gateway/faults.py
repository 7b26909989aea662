"""Faults on purpose: what a drill makes the receivers do, to see what the site does then.

They lie in a file of the spool, so that they hold for all receivers and outlive their restarts. Receivers heed them
only where the site allows drills, whoever wrote the file.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pacsops.errors import DrillsForbidden, SpoolUnwritable

FILE: Final = ".faults.json"
LOOK_SECONDS: Final = 0.5
"""How soon receivers notice at the latest."""
_LARGEST_FILE: Final = 4096
_LONGEST_DELAY: Final = 60_000.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault: what it does, and its value where it takes one."""

    does: str
    default: float | None = None
    """None: it takes no value."""
    most: float = 0.0

    def allows(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= self.most


KINDS: Final[Mapping[str, Kind]] = {
    "reject_all": Kind("every association is rejected"),
    "disk_full": Kind("every image is refused with 0xA700, as when the disk is full"),
    "io_delay_ms": Kind("the disk waits so many milliseconds before each image", 500.0, _LONGEST_DELAY),
    "random_fail_rate": Kind("this share of images is refused with 0xA700", 0.5, 1.0),
}


@dataclass(frozen=True, slots=True)
class Injected:
    """The faults in force. Several may be."""

    reject_all: bool = False
    disk_full: bool = False
    io_delay_ms: float = 0.0
    random_fail_rate: float = 0.0

    def __bool__(self) -> bool:
        return self != _NONE

    def __str__(self) -> str:
        """`disk_full, io_delay_ms 200`."""
        return ", ".join(name if value is True else f"{name} {value:g}" for name, value in self.as_dict().items())

    def as_dict(self) -> dict[str, bool | float]:
        """Those in force."""
        return {name: value for name, value in asdict(self).items() if value}


_NONE = Injected()


class Faults:
    """The receiver's side: asked before each association and each image.

    Args:
        allowed: whether this site is for drills (GATEWAY_DRILLS); elsewhere there are none.
    """

    def __init__(self, spool: Path, allowed: bool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spool = spool
        self._allowed = allowed
        self._clock = clock
        self._looked_at = float("-inf")
        self._current = _NONE

    def current(self) -> Injected:
        """What is in force, as of half a second ago at the latest."""
        if self._allowed and self._clock() >= self._looked_at + LOOK_SECONDS:
            self._looked_at = self._clock()
            self._current = injected(self._spool)
        return self._current

    def rejects(self) -> bool:
        """Whether the next association is to be rejected."""
        return self.current().reject_all

    async def before_write(self) -> None:
        """
        Raises:
            OSError: ENOSPC, the disk is full on purpose.
        """
        faults = self.current()
        if faults.io_delay_ms:
            await asyncio.sleep(faults.io_delay_ms / 1000)
        if faults.disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fails(self) -> bool:
        """Whether the next image is to be refused."""
        rate = self.current().random_fail_rate
        return rate > 0 and random.random() < rate  # noqa: S311 (a drill's dice)


def injected(spool: Path) -> Injected:
    """What the spool's file says. A file that is not there or not ours says nothing: it must not stop a receiver."""
    try:
        with (spool / FILE).open("rb") as file:
            said = json.loads(file.read(_LARGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return _NONE
    if not isinstance(said, dict):
        return _NONE
    return Injected(**{name: said[name] for name, kind in KINDS.items() if _holds(kind, said.get(name))})


def inject(spool: Path, fault: str, value: float | None = None) -> Injected:
    """Put a fault in force, besides those that are; all that are in force then.

    Args:
        fault: a key of KINDS.
        value: its default when None.

    Raises:
        ValueError: the fault does not take this value; the message says what it takes.
        SpoolUnwritable: the file cannot be written.
    """
    kind = KINDS[fault]
    if kind.default is None and value is not None:
        raise ValueError(f"{fault} takes no value")
    said = kind.default if value is None else value
    if said is not None and not kind.allows(said):
        raise ValueError(f"{fault} takes a number above 0, {kind.most:g} at most")
    faults = Injected(**{**asdict(injected(spool)), fault: True if said is None else said})
    _write(spool, faults)
    return faults


def clear(spool: Path) -> Injected:
    """End every fault; those that were in force.

    Raises:
        SpoolUnwritable: the file cannot be removed.
    """
    faults = injected(spool)
    with _changing(spool):
        (spool / FILE).unlink(missing_ok=True)
    return faults


def require_drills(allowed: bool) -> None:
    """
    Raises:
        DrillsForbidden: this is a site for patients.
    """
    if not allowed:
        raise DrillsForbidden(
            "this site does not allow drills: nothing was changed",
            hint="where no patient's images come in: gateway_drills: true in the inventory, and deploy; it sets"
            " GATEWAY_DRILLS in the .env",
        )


def _holds(kind: Kind, value: Any) -> bool:
    return value is True if kind.default is None else kind.allows(value)


def _write(spool: Path, faults: Injected) -> None:
    """Replaced as a whole: a receiver that looks meanwhile sees the faults of before or those of now."""
    new = spool / f"{FILE}.{os.getpid()}"
    with _changing(spool):
        new.write_text(json.dumps(faults.as_dict()), "utf-8")
        new.chmod(0o644)  # the gateway's account reads what root injected
        new.replace(spool / FILE)


@contextmanager
def _changing(spool: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolUnwritable(
            f"cannot change {spool / FILE}: {error.strerror}",
            hint="run it on the gateway's host, as root or as the gateway's account; GATEWAY_SPOOL names the folder",
        ) from error
