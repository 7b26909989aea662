"""Figures, and how they are taken: in turns with the peer, a warm-up first, medians."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value, and what a peer reaches at the same on the same machine in the same run."""

    name: str
    value: float
    unit: str
    """Ends with `/s` for a rate: more is better. Of everything else less is better."""
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: above 1 is better for us, for rates and for times alike."""
        if self.peer_value is None:
            return None
        if self.unit.endswith("/s"):
            return self.value / self.peer_value
        return self.peer_value / self.value


def rate(work: Callable[[], int], *, seconds: float) -> float:
    """Things done a second; `work` does some, says how many, and is called over and over for `seconds`."""
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        done += work()
    return done / elapsed


def in_turns(*measurements: Callable[[], float], rounds: int) -> list[float]:
    """The median of each measurement, in order. A first round warms up and is not counted.

    They take turns, so that what else the machine does meanwhile hits all of them.
    """
    for measurement in measurements:
        measurement()
    taken = [[measurement() for measurement in measurements] for _ in range(rounds)]
    return [statistics.median(values) for values in zip(*taken, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
