"""What a person sends by hand: a promise like any other, by the route `manual`, which no routes.yml has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pacsops.database import Database, Transaction
from pacsops.delivery import desk
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import WAITING, Delivery, Status
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.routes import MANUAL, Route, Selection
from pacsops.routes.model import Level

PRIORITY = 1
"""Before what routes send (100 unless they say otherwise): somebody waits for it."""

Standing = Literal["new", "more images", "on its way", "stuck", "done before"]


@dataclass(frozen=True, slots=True)
class Portion:
    """A study or a series to be sent, and how it stands with what was ordered before."""

    selection: Selection
    before: Delivery | None

    @property
    def standing(self) -> Standing:
        """`done before`: delivered, skipped or cancelled, with all these images."""
        if self.before is None:
            return "new"
        if self.before.status in WAITING:
            return "on its way"
        if self.before.status is Status.STUCK:
            return "stuck"
        grew = len(self.selection.instances) > self.before.instance_count
        return "more images" if grew and self.before.status is Status.SUCCESS else "done before"


def selection(destination: str, level: Level, resource_id: str, instances: Sequence[str]) -> Selection:
    """These images of a study or series, by Orthanc's identifiers."""
    route = Route(name=MANUAL, match=(), destinations=(destination,), priority=PRIORITY)
    return Selection(route, destination, level, resource_id, tuple(sorted(instances)))


def portions(database: Database, study_id: str, selections: Sequence[Selection]) -> list[Portion]:
    """How each stands. Changes nothing."""
    known = {
        (delivery.level, delivery.resource_id, delivery.destination): delivery
        for delivery in desk.deliveries(database, study_id=study_id)
        if delivery.route == MANUAL
    }
    return [
        Portion(chosen, known.get((chosen.level, chosen.resource_id, chosen.destination))) for chosen in selections
    ]


def order(
    database: Database, study: StudyIdentity, received_at: datetime, chosen: Sequence[Portion], *, by: str
) -> list[Delivery]:
    """Promise these portions: new ones, more images of one that was kept, and all of one that was stuck or done
    before once more. The deliveries as they are now. Ordered twice, they are promised once."""
    with database.transaction() as tx:
        _know(tx, study, received_at)
        selections = [portion.selection for portion in chosen]
        plan(tx, study, selections, MANUAL, ordered_by=by)
    again = {"stuck": False, "done before": True}
    for standing, anew in again.items():
        ids = tuple(portion.before.id for portion in chosen if portion.before and portion.standing == standing)
        if ids:
            desk.retry(database, DeliveryFilter(delivery_ids=ids), by=by, force=anew)
    now = portions(database, study.study_id, selections)
    return [portion.before for portion in now if portion.before is not None]


def _know(tx: Transaction, study: StudyIdentity, received_at: datetime) -> None:
    """Have a row for the study, as of old: that it is sent by hand is no reason for the routes to look at it."""
    tx.run(
        """
        INSERT INTO routing_study (source, study_id, study_uid, accession_number, patient_name, patient_id,
                                   study_description, study_date, first_seen_at, arrived_at, evaluated_seq)
        VALUES (%(source)s, %(study_id)s, %(study_uid)s, %(accession_number)s, %(patient_name)s, %(patient_id)s,
                %(study_description)s, %(study_date)s, %(received_at)s, %(received_at)s, 0)
        ON CONFLICT DO NOTHING
        """,
        received_at=received_at,
        **study.columns(),
    )
