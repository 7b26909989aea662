"""Destinations are asked for what they took: by C-FIND or storage commitment, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pacsops.delivery import verification
from pacsops.delivery.verification import Delivered, Method
from pacsops.errors import DestinationMute
from pacsops.observe.logs import EventLog
from pacsops.orthanc.presence import Finder, Identified, commitment, identified, request_commitment
from pacsops.router.site import Site

_LOG = EventLog("routing")
STEP_SECONDS = 2.0
AT_ONCE = 4
_BATCH = 20
_GONE = "some of its images are no longer in Orthanc: there is nothing to compare with"


class Verifier:
    """One thread calls `step`; a destination that takes long to answer holds up no other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verify")
        self._asking: dict[str, Future[None]] = {}

    def step(self) -> float:
        ended = [name for name, future in self._asking.items() if future.done()]
        futures = [self._asking.pop(name) for name in ended]
        for destination, method in verification.due(self._site.database).items():
            if destination not in self._asking:
                self._asking[destination] = self._pool.submit(self._ask, destination, method)
        for future in futures:
            future.result()  # an error is the loop's to report; the others have been started again all the same
        return STEP_SECONDS

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, destination: str, method: Method) -> None:
        try:
            finder = Finder(self._site.orthanc, destination)
            for delivered in verification.claim(self._site.database, destination, most=_BATCH):
                try:
                    self._look(delivered, method, finder)
                except DestinationMute as mute:
                    verification.no_answer(self._site.database, delivered, str(mute))
                    _LOG.warning("verify_unanswered", **_about(delivered), error=str(mute))
        finally:
            self._site.database.close()

    def _look(self, delivered: Delivered, method: Method, finder: Finder) -> None:
        database = self._site.database
        images = identified(self._site.orthanc, delivered.instances)
        if method is Method.STORAGE_COMMITMENT:
            lacking = self._committed(delivered, images)
            if lacking is None:
                return
        else:
            lacking = finder.lacking(images)
        if lacking:
            if not verification.look_again(database, delivered):
                note_lacking(self._site, delivered, lacking)
        elif len(images) < len(delivered.instances):
            verification.no_answer(database, delivered, _GONE)
        elif verification.has_all(database, delivered, method):
            _LOG.info("delivery_verified", **_about(delivered), instances=len(images))

    def _committed(self, delivered: Delivered, images: Sequence[Identified]) -> list[Identified] | None:
        """What the destination says it lacks; None: its answer is not there yet.

        Raises:
            DestinationMute: it has other trouble with them.
        """
        orthanc, database = self._site.orthanc, self._site.database
        report = commitment(orthanc, delivered.reference) if delivered.reference else None
        if report is None:
            if not images:
                return []
            ids = [image.instance_id for image in images]
            verification.committing(database, delivered, request_commitment(orthanc, delivered.destination, ids))
            return None
        if report.state == "pending":
            verification.committing(database, delivered, delivered.reference or "")
            return None
        if report.refused:
            reason = min(report.refused.values())
            raise DestinationMute(
                f"{delivered.destination} does not commit to {len(report.refused)} of {len(images)} images"
                f" (reason 0x{reason:04X})"
            )
        return [image for image in images if image.sop_uid in report.absent]


def note_lacking(site: Site, delivered: Delivered, lacking: Sequence[Identified]) -> bool:
    """A destination does not have images it took: the delivery is owed again. False: it was taken up meanwhile."""
    becomes = verification.lacks(site.database, delivered, [image.instance_id for image in lacking])
    if becomes is not None:
        _LOG.error("delivery_lacking", **_about(delivered), instances=len(lacking), status=becomes.value)
    return becomes is not None


def _about(delivered: Delivered) -> dict[str, object]:
    return {
        "study_id": delivered.study_id,
        "delivery_id": delivered.delivery_id,
        "route": delivered.route,
        "destination": delivered.destination,
    }
