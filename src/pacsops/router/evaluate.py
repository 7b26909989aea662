"""One study against the routes in force."""

from __future__ import annotations

from datetime import UTC, datetime

from pacsops.delivery import studies
from pacsops.delivery.planner import StudyIdentity
from pacsops.delivery.studies import Evaluation
from pacsops.dicom.synthetic import CANARY
from pacsops.errors import PacsopsError
from pacsops.observe.logs import EventLog
from pacsops.orthanc import INDEXED_KEYWORDS, StudyHeader, complete, study_facts
from pacsops.router.site import Site
from pacsops.routes import RouteTable

_LOG = EventLog("routing")
_LOOK_AGAIN_SECONDS = 60.0


def evaluate(site: Site, table: RouteTable, study_id: str, as_of_seq: int) -> Evaluation:
    """Fetch a study's facts from Orthanc and ask the routes. Plans nothing.

    The tags that Orthanc indexes come in one request a level; whole data sets are read only for the instances where a
    route in force looks at another tag.

    Raises:
        NotFoundInOrthanc: the study was deleted.
        OrthancUnreachable, OrthancRefused: it cannot be read now.
    """
    header, facts = study_facts(site.orthanc, study_id)
    wanting = table.instances_needing(facts, INDEXED_KEYWORDS)
    if wanting:
        facts = complete(site.orthanc, facts, wanting)
    aet_of = {name: modality.aet for name, modality in site.modalities().items()}
    selections = table.select(facts, aet_of=aet_of)
    if header.accession_number == CANARY:
        # What never was a patient goes nowhere but where it was asked for.
        selections = [each for each in selections if each.destination in site.canary_destinations]
    return Evaluation(
        study=identity(header),
        as_of_seq=as_of_seq,
        last_update=header.last_update,
        instance_count=len(facts.instances),
        sender_aet=next((instance.sender_aet for instance in facts.instances if instance.sender_aet), None),
        matched_routes=table.matched(facts),
        selections=tuple(selections),
        route_version=table.hash,
    )


def identity(header: StudyHeader) -> StudyIdentity:
    """A study's header as the deliveries know it."""
    return StudyIdentity(
        source="orthanc",
        study_id=header.study_id,
        study_uid=header.study_uid,
        accession_number=header.accession_number,
        patient_name=header.patient_name,
        patient_id=header.patient_id,
        study_description=header.study_description,
        study_date=header.study_date,
    )


def touched_since(header: StudyHeader, since: datetime | None) -> bool:
    """Whether an instance of the study arrived at or after `since`. Orthanc's LastUpdate is UTC, to the second."""
    return since is None or header.last_update >= since.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def note_unreadable(site: Site, study_id: str, error: Exception) -> None:
    """A study could not be evaluated: said once for each reason, and looked at again in a while."""
    # A defect is told by its type alone: its message may hold what it worked on.
    reason = str(error) if isinstance(error, PacsopsError) else f"{type(error).__name__} while it was evaluated"
    if studies.unreadable(site.database, study_id, reason, seconds=_LOOK_AGAIN_SECONDS):
        _LOG.error("study_unreadable", study_id=study_id, error=reason)
