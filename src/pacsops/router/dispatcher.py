"""Deliveries become Orthanc's store jobs, and every job's end is written down.

Each delivery is claimed before its job is submitted, and its job's id is written down after. A router killed between
the two leaves a claim without a job: whoever rescues it looks for the job in Orthanc before sending again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pacsops.delivery import claims, outcomes
from pacsops.delivery.claims import Claim
from pacsops.delivery.model import ErrorClass
from pacsops.delivery.retry import Failure
from pacsops.delivery.telling import about, tell_failure
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable
from pacsops.observe.logs import EventLog
from pacsops.orthanc import Job, JobFailure, failure_of, last_change, store_jobs, submit_store
from pacsops.orthanc.jobs import job
from pacsops.router.culprit import with_culprit
from pacsops.router.site import Site

_LOG = EventLog("routing")
MOST_IN_FLIGHT = 32
"""As Orthanc's ConcurrentJobs: a job that waits inside Orthanc holds a destination's slot for nothing."""
TRANSPORT = "orthanc"
"""Destinations that Orthanc sends to; `router.direct` has the others."""
RESCUE_SECONDS = 5.0
IDLE_SECONDS = 1.0
_BUSY_SECONDS = 0.05
_AFTER_INTERRUPTION_SECONDS = 1.0
_WHOLE_STUDY_SECONDS = 30.0  # half a lease
_MOST_INTERRUPTIONS = 2
_NOT_ABOUT_THE_DELIVERY = frozenset({401, 403, 429, 502, 503, 504})
"""HTTP: we are not let in, or it cannot work now. No job was made."""
_DELETED = Failure(ErrorClass.VANISHED, "it was deleted from Orthanc before it was sent")


@dataclass
class _InFlight:
    """A claim whose job Orthanc works on."""

    claim: Claim
    job_id: str
    since: float
    """Monotonic time of the submission, or of the rescue."""
    rescued: bool
    look_at: float = 0.0
    """Monotonic time of the next look at the job: a job that takes long is looked at less often."""


class Dispatcher:
    """Claims, submits, tracks. One thread calls `step`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._in_flight: dict[str, _InFlight] = {}
        self._orphans: dict[str, Claim] = {}
        """Rescued claims that may or may not have a job in Orthanc."""
        self._dead_workers: frozenset[str] | None = None
        self._orthanc_was_away = False
        self._beat_at = 0.0
        self._rescue_at = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def step(self) -> float:
        """Everything there is to do now; the seconds to wait before looking again."""
        self._keep_leases()
        trouble = [error for duty in (self._track, self._rescue, self._claim_and_submit) if (error := _tried(duty))]
        if trouble:
            raise trouble[0]
        return _BUSY_SECONDS if self._in_flight else IDLE_SECONDS

    def _keep_leases(self) -> None:
        mine = self._in_flight.keys() | self._orphans.keys()
        if not mine or time.monotonic() < self._beat_at:
            return
        for token in mine - claims.heartbeat(self._site.database, mine):
            # Taken over, or taken back by an operator: what becomes of it is no longer ours to say.
            flight = self._in_flight.pop(token, None)
            lost = flight.claim if flight else self._orphans.pop(token)
            _LOG.warning("claim_lost", delivery_id=lost.delivery_id, destination=lost.destination)
        self._beat_at = time.monotonic() + claims.HEARTBEAT_SECONDS

    def _rescue(self) -> None:
        if time.monotonic() >= self._rescue_at:
            if self._dead_workers is None:
                self._dead_workers = claims.predecessors(self._site.database, self._site.worker)
            rescued = claims.rescue(
                self._site.database, self._site.worker, dead_workers=self._dead_workers, transport=TRANSPORT
            )
            for claim in rescued:
                if claim.job_id is not None:
                    self._in_flight[claim.token] = _InFlight(claim, claim.job_id, time.monotonic(), rescued=True)
                else:
                    self._orphans[claim.token] = claim
            self._rescue_at = time.monotonic() + RESCUE_SECONDS
        if self._orphans:
            known = store_jobs(self._site.orthanc)
            for token, claim in list(self._orphans.items()):
                self._adopt(claim, known)
                del self._orphans[token]

    def _adopt(self, claim: Claim, jobs: Collection[Job]) -> None:
        """The router that held the claim died before it wrote a job down. Was there one?"""
        modality = self._site.modalities().get(claim.destination)
        taken = {flight.job_id for flight in self._in_flight.values()}
        twins = [
            found
            for found in jobs
            if modality is not None
            and found.remote_aet == modality.aet
            and sorted(found.parent_resources) == sorted(claim.instances)
            and found.id not in taken
            and not claims.is_written_down(self._site.database, claim, found.id)
        ]
        if len(twins) == 1:
            self._submitted(claim, twins[0].id, time.monotonic(), rescued=True)
        else:
            outcomes.release(
                self._site.database, claim, Failure(ErrorClass.ORTHANC, "the router was interrupted"), wait=0.0
            )

    def _claim_and_submit(self) -> None:
        if self._orthanc_was_away:
            # Claims made while it is away would only be given back. Unlike /system, this asks its database too.
            last_change(self._site.orthanc)
            self._orthanc_was_away = False
        while (room := MOST_IN_FLIGHT - len(self._in_flight)) > 0:
            claimed = claims.claim(self._site.database, self._site.worker, transport=TRANSPORT, most=room)
            if not claimed:
                return
            for number, claim in enumerate(claimed):
                try:
                    self._submit(claim)
                except (OrthancUnreachable, OrthancRefused):
                    self._orthanc_was_away = True
                    # It may have taken the job before it went: to be found out when it is back.
                    self._orphans[claim.token] = claim
                    for waiting in claimed[number + 1 :]:
                        self._interrupted(waiting, "Orthanc does not answer")
                    raise
                except DatabaseUnreachable:
                    # What was submitted meanwhile, and what was not, is found out when it is back.
                    self._orphans.update({waiting.token: waiting for waiting in claimed[number:]})
                    raise

    def _submit(self, claim: Claim) -> None:
        since = time.monotonic()
        try:
            job_id = submit_store(self._site.orthanc, claim.destination, claim.instances)
        except OrthancRefused as error:
            if error.status in _NOT_ABOUT_THE_DELIVERY:
                raise
            self._failed(claim, failure_of(error))
            return
        self._submitted(claim, job_id, since, rescued=False)

    def _submitted(self, claim: Claim, job_id: str, since: float, *, rescued: bool) -> None:
        if outcomes.submitted(self._site.database, claim, job_id):
            self._in_flight[claim.token] = _InFlight(claim, job_id, since, rescued)
            _LOG.info("send_started", **about(claim), job_id=job_id, instances=len(claim.instances))

    def _track(self) -> None:
        for token, flight in list(self._in_flight.items()):
            if time.monotonic() < flight.look_at:
                continue
            found = job(self._site.orthanc, flight.job_id)
            if found is None:
                self._job_lost(flight.claim)
            elif found.state == "Success":
                self._arrived(flight)
            elif found.state == "Failure" and found.failure is not None:
                self._failed(flight.claim, found.failure, progress=found.progress)
            else:
                age = time.monotonic() - flight.since
                flight.look_at = time.monotonic() + min(max(age / 10, _BUSY_SECONDS), IDLE_SECONDS)
                continue
            del self._in_flight[token]

    def _job_lost(self, claim: Claim) -> None:
        """Orthanc does not know the job any more. Once or twice that is a restart; a study that it never survives
        sending must not be sent for ever."""
        if claim.interruptions < _MOST_INTERRUPTIONS:
            self._interrupted(claim, "Orthanc restarted while it was sending")
        else:
            times = claim.interruptions + 1
            self._failed(claim, JobFailure("orthanc", f"Orthanc restarted {times} times while it was sending this"))

    def _arrived(self, flight: _InFlight) -> None:
        duration = None if flight.rescued else round((time.monotonic() - flight.since) * 1000)
        if outcomes.finish(self._site.database, flight.claim, duration_ms=duration):
            _LOG.info("send_success", **about(flight.claim), job_id=flight.job_id, duration_ms=duration)

    def _interrupted(self, claim: Claim, why: str) -> None:
        failure = Failure(ErrorClass.ORTHANC, why)
        if outcomes.release(self._site.database, claim, failure, wait=_AFTER_INTERRUPTION_SECONDS):
            _LOG.warning("send_interrupted", **about(claim), error=why)

    def _failed(self, claim: Claim, why: JobFailure, *, progress: int | None = None) -> None:
        """`progress` of the job in per cent; None: there was none."""
        failure = Failure(ErrorClass(why.kind), why.message, why.dimse_status)
        if failure.error_class is ErrorClass.UNKNOWN_DESTINATION:
            if outcomes.not_configured(self._site.database, claim, failure):
                _LOG.error("send_failed", **about(claim), error=failure.reason, error_class=why.kind)
            return
        if failure.error_class is ErrorClass.ORTHANC_AWAY:
            self._interrupted(claim, failure.reason)
            return
        if failure.error_class is ErrorClass.VANISHED:
            held = self._still_held(claim)
            vanished = set(claim.instances) - held
            if held and vanished:
                self._go_on_without(claim, vanished)
                return
            # All are there after all: another attempt may tell what it was.
            failure = Failure(ErrorClass.ORTHANC, why.message) if held else _DELETED
        if progress is not None:
            failure = with_culprit(self._site.orthanc, failure, why, claim.instances, progress)
        tell_failure(_LOG, claim, failure, outcomes.fail(self._site.database, claim, failure))

    def _still_held(self, claim: Claim) -> frozenset[str]:
        """The instances of a claim that Orthanc has; all of them when it cannot say."""
        try:
            found = self._site.orthanc.bulk_content(claim.instances, "Instance", timeout=_WHOLE_STUDY_SECONDS)
        except (OrthancUnreachable, OrthancRefused):
            return frozenset(claim.instances)
        return frozenset(instance["ID"] for instance in found)

    def _go_on_without(self, claim: Claim, vanished: Collection[str]) -> None:
        """Some of the instances were deleted from Orthanc: the others are sent."""
        outcomes.drop_vanished(self._site.database, claim, vanished)
        self._interrupted(claim, f"{len(vanished)} of {len(claim.instances)} instances were deleted from Orthanc")


def _tried(duty: Callable[[], None]) -> OrthancUnreachable | OrthancRefused | None:
    """What kept Orthanc from one duty: the others are done all the same."""
    try:
        duty()
    except (OrthancUnreachable, OrthancRefused) as error:
        return error
    return None
