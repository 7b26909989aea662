"""What follows when a destination was asked what it has, whoever asked it: the router or the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pacsops.database import Database
from pacsops.delivery import verification
from pacsops.delivery.model import Method
from pacsops.delivery.verification import Delivered
from pacsops.errors import DestinationMute
from pacsops.observe.logs import EventLog
from pacsops.routes import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A delivery beside what its destination says."""

    method: Method
    held: int
    """Images of it that whoever sent it still has: those that were asked about."""
    gone: bool
    """Whether others should have been asked about, and cannot."""
    lacking: Sequence[str]
    """Which of these the destination does not have, by the ids of the delivery."""
    told: bool = True
    """Whether it told of any image."""


def conclude(database: Database, log: EventLog, delivered: Delivered, compared: Compared) -> None:
    """A look soon after a delivery: it is verified, looked at again, or owed again.

    Raises:
        DestinationMute: that it tells of nothing does not mean that it has nothing.
    """
    if compared.lacking:
        believe(database, delivered, compared)
        if not verification.look_again(database, delivered):
            owe_again(database, log, delivered, compared.lacking)
    elif compared.gone:
        verification.nothing_to_compare(database, delivered)
    elif verification.has_all(database, delivered, compared.method):
        log.info("delivery_verified", **about(delivered), instances=compared.held)


def believe(database: Database, delivered: Delivered, compared: Compared) -> None:
    """
    Raises:
        DestinationMute: it says that it has none of the images, and never told of any.
    """
    told = compared.told or len(compared.lacking) < compared.held
    if not verification.believed(database, delivered.destination, told=told):
        raise DestinationMute(
            f"{delivered.destination} answers C-FIND for single images with nothing, and never told of any image:"
            " it may lack them, or not answer such questions",
            hint="look for the study there; what is not there, `orthanc retry --force` sends again",
        )


def owe_again(database: Database, log: EventLog, delivered: Delivered, lacking: Sequence[str]) -> bool:
    """A destination does not have images it took: they are sent again. False: the delivery was taken up meanwhile."""
    becomes = verification.lacks(database, delivered, lacking)
    if becomes is not None:
        log.error("delivery_lacking", **about(delivered), instances=len(lacking), status=becomes.value)
    return becomes is not None


def unanswered(database: Database, log: EventLog, delivered: Delivered, mute: DestinationMute) -> None:
    """Nothing is known: that is never a reason to send anything again."""
    verification.no_answer(database, delivered, str(mute))
    log.warning("verify_unanswered", **about(delivered), error=str(mute))


def about(delivered: Delivered) -> dict[str, object]:
    """What a log line says of it."""
    return {
        # The gateway's studies are known by their StudyInstanceUID, which has no place in a log.
        **({"study_id": delivered.study_id} if delivered.source == Source.ORTHANC else {}),
        "delivery_id": delivered.delivery_id,
        "route": delivered.route,
        "destination": delivered.destination,
    }
