"""The nouns of the route language: what a route says, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pacsops.routes.conditions import Condition
from pacsops.routes.fields import Field
from pacsops.routes.problems import Position

Level = Literal["study", "series", "instance"]

MANUAL = "manual"
"""The route of what people send by hand; no route of routes.yml has this name."""


class Send(StrEnum):
    """What leaves when a route matches."""

    STUDY = "study"
    """All of the study."""
    SERIES = "series"
    """Every series with a matching image, whole."""
    INSTANCE = "instance"
    """Every matching image by itself."""
    HIGHEST_RESOLUTION = "highest_resolution"
    """The one matching image with the most pixels."""


class Source(StrEnum):
    """Who receives what a route is about."""

    ORTHANC = "orthanc"
    GATEWAY = "gateway"


class When(StrEnum):
    """How much a route of the gateway waits for before it sends."""

    INSTANCE = "instance"
    """Nothing: what has come leaves, and what comes later follows."""
    SERIES_STABLE = "series_stable"
    """A series, until no image has come into it for a while."""
    STUDY_STABLE = "study_stable"
    """The whole study, likewise."""


class Backoff(StrEnum):
    """How the wait grows from one failed attempt to the next."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed delivery is tried again. Delays are seconds."""

    max_attempts: int = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay: float = 60.0
    cap: float = 3600.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure (from 1).

        The cap bounds growth; it never shortens an `initial_delay` that is longer by itself.
        """
        match self.backoff:
            case Backoff.CONSTANT:
                delay = self.initial_delay
            case Backoff.LINEAR:
                delay = self.initial_delay * attempt
            case Backoff.EXPONENTIAL:
                # 2⁶³ seconds exceed any cap, and a float holds them.
                delay = self.initial_delay * 2.0 ** min(attempt - 1, 63)
        return min(delay, max(self.cap, self.initial_delay))


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is known of one image. `tags`: DICOM keyword → value, components joined by a backslash."""

    instance_id: str
    series_id: str
    sender_aet: str | None
    tags: Mapping[str, str]

    def value(self, field: Field) -> str | None:
        return self.sender_aet if field.keyword is None else self.tags.get(field.keyword)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What is known of one study, identified as its source does."""

    study_id: str
    instances: tuple[InstanceFacts, ...]


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """One line of `match`: a field and the conditions that must all hold for it."""

    field: Field
    conditions: tuple[Condition, ...]

    def holds(self, value: str | None) -> bool:
        """Whether an image with this value of the field satisfies the line."""
        return all(condition.holds(value) for condition in self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule: which images, where to, in which portions, how persistently."""

    name: str
    match: tuple[FieldMatch, ...]
    destinations: tuple[str, ...]
    description: str = ""
    enabled: bool = True
    source: Source = Source.ORTHANC
    when: When = When.INSTANCE
    """Of the gateway's routes only: Orthanc's are always asked about whole studies."""
    priority: int = 100
    send: Send = Send.STUDY
    retry: RetryPolicy = RetryPolicy()
    deliver_within: int | None = None
    """Seconds from a delivery's planning to its success; later it is overdue. None: it may take its time."""
    final: bool = False
    """Once it has matched, later routes are not looked at."""
    send_back: bool = False
    """Images may return to the system they came from."""
    line: int = field(default=1, compare=False)
    destination_positions: tuple[Position, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """One delivery to promise: these images, by this route, to this destination."""

    route: Route
    destination: str
    level: Level
    resource_id: str
    """The source's identifier of the study, series or instance."""
    instances: tuple[str, ...]
    """The source's identifiers, sorted, never empty."""
