"""Destinations are asked for what they took: by C-FIND or storage commitment, each on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pacsops.delivery import looks, verification
from pacsops.delivery.looks import Compared
from pacsops.delivery.model import Method
from pacsops.delivery.verification import Delivered
from pacsops.dimse.presence import Finder, Identified
from pacsops.errors import DestinationMute
from pacsops.observe.logs import EventLog
from pacsops.orthanc.presence import commitment, finder, identified, request_commitment
from pacsops.router.site import Site

LOG = EventLog("routing")
STEP_SECONDS = 2.0


class Verifier:
    """One thread calls `step`; a destination that takes long to answer holds up no other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pool = ThreadPoolExecutor(verification.AT_ONCE, thread_name_prefix="verify")
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
        database = self._site.database
        try:
            asking = finder(self._site.orthanc, destination)
            for delivered in verification.claim(database, destination, most=verification.BATCH):
                try:
                    found = self._compare(delivered, method, asking)
                    if found is not None:
                        looks.conclude(database, LOG, delivered, found)
                except DestinationMute as mute:
                    looks.unanswered(database, LOG, delivered, mute)
        finally:
            database.close()

    def _compare(self, delivered: Delivered, method: Method, asking: Finder) -> Compared | None:
        """None: a storage commitment is under way."""
        images = identified(self._site.orthanc, delivered.instances)
        if method is not Method.STORAGE_COMMITMENT:
            return compared(delivered, images, asking)
        lacking = self._committed(delivered, images)
        if lacking is None:
            return None
        gone = len(images) < len(delivered.instances)
        return Compared(method=method, held=len(images), gone=gone, lacking=lacking)

    def _committed(self, delivered: Delivered, images: Sequence[Identified]) -> list[str] | None:
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
        return [image.instance_id for image in images if image.sop_uid in report.absent]


def compared(delivered: Delivered, images: Sequence[Identified], asking: Finder) -> Compared:
    """By C-FIND; raises as `Finder.lacking`."""
    lacking = asyncio.run(asking.lacking(images))
    return Compared(
        method=Method.FIND,
        held=len(images),
        gone=len(images) < len(delivered.instances),
        lacking=[image.instance_id for image in lacking],
        told=asking.told,
    )
