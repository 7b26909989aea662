"""The nouns of a delivery, as PostgreSQL holds them and as every reader sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    SUCCESS = "success"
    FAILED = "failed"
    STUCK = "stuck"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


OPEN = frozenset({Status.PENDING, Status.SENDING, Status.SENT, Status.FAILED, Status.STUCK})
"""A promise not yet kept nor taken back."""
WAITING = frozenset({Status.PENDING, Status.SENDING, Status.SENT, Status.FAILED})
"""Will proceed by itself."""


class ErrorClass(StrEnum):
    """Why an attempt failed, in kinds that decide what follows."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REJECTED_ASSOCIATION = "rejected-association"
    TLS = "tls"
    ABORTED = "aborted"
    OUT_OF_RESOURCES = "out-of-resources"
    NO_PRESENTATION_CONTEXT = "no-presentation-context"
    PEER_STATUS = "peer-status"
    UNKNOWN_DESTINATION = "unknown-destination"
    VANISHED = "vanished"
    NOT_KEPT = "not-kept"
    """The destination answered success and does not have it."""
    GATEWAY = "gateway"
    """The gateway could not carry the send out."""
    ORTHANC = "orthanc"
    ORTHANC_AWAY = "orthanc-away"
    """Orthanc could not work at all; nothing about this delivery."""


OUTAGE = frozenset(
    {
        ErrorClass.REFUSED,
        ErrorClass.UNREACHABLE,
        ErrorClass.TIMEOUT,
        ErrorClass.REJECTED_ASSOCIATION,
        ErrorClass.TLS,
        ErrorClass.ABORTED,
        ErrorClass.OUT_OF_RESOURCES,
        ErrorClass.UNKNOWN_DESTINATION,
    }
)
"""The destination is not there to take anything: its breaker counts these."""
PERMANENT = frozenset({ErrorClass.NO_PRESENTATION_CONTEXT, ErrorClass.PEER_STATUS, ErrorClass.VANISHED})
"""Trying again changes nothing until a person has changed something."""


class Event(StrEnum):
    """What a line of the timeline says happened."""

    STUDY_RECEIVED = "study_received"
    STUDY_DELETED = "study_deleted"
    STUDY_UNREADABLE = "study_unreadable"
    DELIVERY_ORDERED = "delivery_ordered"
    ROUTE_MATCHED = "route_matched"
    ROUTE_NO_MATCH = "route_no_match"
    DELIVERY_GREW = "delivery_grew"
    DELIVERY_SUPERSEDED = "delivery_superseded"
    SEND_STARTED = "send_started"
    SEND_SUCCESS = "send_success"
    SEND_FAILED = "send_failed"
    SEND_RETRY_SCHEDULED = "send_retry_scheduled"
    SEND_INTERRUPTED = "send_interrupted"
    STUDY_STUCK = "study_stuck"
    DELIVERY_REVIVED = "delivery_revived"
    DELIVERY_VERIFIED = "delivery_verified"
    DELIVERY_LACKING = "delivery_lacking"
    DELIVERY_UNVERIFIED = "delivery_unverified"
    DELIVERY_RETRIED = "delivery_retried"
    DELIVERY_SKIPPED = "delivery_skipped"
    DELIVERY_CANCELLED = "delivery_cancelled"
    DESTINATION_UNREACHABLE = "destination_unreachable"
    DESTINATION_SLOW = "destination_slow"
    DESTINATION_RECOVERED = "destination_recovered"
    WORKER_ASSIGNED = "worker_assigned"
    WORKER_TIMED_OUT = "worker_timed_out"
    WORKERS_EXHAUSTED = "workers_exhausted"
    RESULT_RECEIVED = "result_received"
    RECONCILED = "reconciled"
    CONFIG_RELOADED = "config_reloaded"
    CONFIG_REJECTED = "config_rejected"


class Method(StrEnum):
    """How a destination is asked for what it took."""

    NONE = "none"
    FIND = "find"
    """C-FIND for the images of each series (PS3.4 C.4.1)."""
    STORAGE_COMMITMENT = "storage_commitment"
    """It is asked to take the images into its keeping (PS3.4 annex J)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of routing_state, for reading. Times are timezone-aware UTC."""

    id: int
    source: str
    study_id: str
    study_uid: str | None
    patient_name: str | None
    patient_id: str | None
    study_description: str | None
    study_date: date | None
    level: str
    resource_id: str
    route: str
    destination: str
    priority: int
    status: Status
    instance_count: int
    delivered_count: int
    attempt_count: int
    max_attempts: int
    next_retry_at: datetime | None
    last_error: str | None
    last_error_class: str | None
    last_error_at: datetime | None
    job_id: str | None
    created_at: datetime
    open_since: datetime
    """When it was planned, or last taken up again: a kept promise whose study grew, an operator's retry."""
    updated_at: datetime
    completed_at: datetime | None
    due_at: datetime | None
    """By when its route wants it done (`deliver_within` after open_since); None: no service level."""
    verified_at: datetime | None
    """When its destination was asked and had all of it; None: not since it was completed."""
    verify_error: str | None
    """Why the destination could not be asked, when that is so."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """One row of routing_study: what the router knows of a study."""

    source: str
    study_id: str
    study_uid: str | None
    accession_number: str | None
    patient_name: str | None
    patient_id: str | None
    study_description: str | None
    study_date: date | None
    sender_aet: str | None
    instance_count: int
    first_seen_at: datetime
    evaluated_at: datetime | None
    matched_routes: tuple[str, ...]
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnevaluatedStudy:
    """A study no route could be asked about, or not about all of its files; `trouble` says why, None: it was not
    tried or waits to be stable."""

    source: str
    study_id: str
    trouble: str | None
    arrived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One row of routing_event. `detail` keys by event: error, error_class, dimse_status, sop_class, transfer_syntax,
    next_retry_at, job_id, duration_ms, open_ms (since it was promised or taken up again, when all of it arrived),
    instances, method, reason, by, pool, seconds."""

    at: datetime
    event: Event
    source: str
    delivery_id: int | None
    route: str | None
    destination: str | None
    attempt: int | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationHealth:
    """One row of destination_health, with how many deliveries wait and are stuck there."""

    destination: str
    breaker: str
    max_concurrency: int
    consecutive_failures: int
    opened_at: datetime | None
    open_reason: str | None
    next_probe_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    last_echo_at: datetime | None
    last_echo_ms: int | None
    verify: str
    """How it is asked for what it took of Orthanc: none, find, storage_commitment."""
    gateway_verify: str
    """How the gateway asks it for what it took of the gateway: none, find."""
    transport: str
    """Who sends there what Orthanc received: orthanc, or the router itself: direct."""
    waiting: int
    stuck: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingCounts:
    """Studies and deliveries for `orthanc status`. received…failed: since a moment; pending, stuck: now."""

    received: int
    matched: int
    completed: int
    failed: int
    pending: int
    stuck: int
    pending_studies: int
    stuck_studies: int
    unevaluated: int
    """Studies that no route could be asked about; see `desk.unevaluated`."""
    oldest_pending_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesVersion:
    """One routes.yml the router has met."""

    hash: str
    text: str
    loaded_at: datetime
    accepted: bool
    problems: tuple[Mapping[str, Any], ...]
