"""A study as each of its sources has it, against the routes of that source."""

from __future__ import annotations

from dataclasses import dataclass

from pacsops.cli.render import count, to_type
from pacsops.cli.site import Site
from pacsops.delivery import desk
from pacsops.delivery.model import StudyRecord
from pacsops.errors import AmbiguousStudy, DatabaseUnreachable, SchemaMismatch, UnknownStudy
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.naming import configuration_here
from pacsops.gateway.planning import facts_of, loop_guard
from pacsops.orthanc import INDEXED_KEYWORDS, all_modalities, complete, study_facts
from pacsops.routes import RouteExplanation, RouteTable, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the routes of one source say of a study."""

    source: Source
    study_id: str
    study_uid: str | None
    patient_name: str | None
    study_description: str | None
    routes: list[RouteExplanation]


def explanations(site: Site, table: RouteTable, name: str) -> list[Explained]:
    """By Orthanc's routes where Orthanc holds the study, and by the gateway's where that received it.

    Raises:
        UnknownStudy, AmbiguousStudy
        NotFoundInOrthanc: it was deleted, and the gateway never had it.
        OrthancUnreachable, OrthancRefused, DatabaseUnreachable, GatewayConfigurationError
    """
    try:
        known = desk.find_studies(site.db, name)
    except (UnknownStudy, DatabaseUnreachable, SchemaMismatch) as error:
        return [_by_orthancs(site, table, _only_in_orthanc(site, name, error))]
    return [
        _by_gateways(site, table, study)
        if study.source == Source.GATEWAY
        else _by_orthancs(site, table, study.study_id)
        for study in known
        if study.source == Source.GATEWAY or study.deleted_at is None or len(known) == 1
    ]


def _by_orthancs(site: Site, table: RouteTable, study_id: str) -> Explained:
    of_orthanc = table.of(Source.ORTHANC)
    header, facts = study_facts(site.orthanc, study_id)
    wanting = of_orthanc.instances_needing(facts, INDEXED_KEYWORDS)
    if wanting:
        facts = complete(site.orthanc, facts, wanting)
    aet_of = {name: modality.aet for name, modality in all_modalities(site.orthanc).items()}
    return Explained(
        source=Source.ORTHANC,
        study_id=header.study_id,
        study_uid=header.study_uid,
        patient_name=header.patient_name,
        study_description=header.study_description,
        routes=of_orthanc.explain(facts, aet_of),
    )


def _by_gateways(site: Site, table: RouteTable, study: StudyRecord) -> Explained:
    of_gateway = table.of(Source.GATEWAY)
    with site.db.transaction() as tx:
        facts = facts_of(tx, study.study_id, site.settings.gateway_spool, of_gateway.keywords)
    aet_of = loop_guard(configuration_here(site.settings) or Configuration())
    return Explained(
        source=Source.GATEWAY,
        study_id=study.study_id,
        study_uid=study.study_uid,
        patient_name=study.patient_name,
        study_description=study.study_description,
        routes=of_gateway.explain(facts, aet_of),
    )


def _only_in_orthanc(site: Site, name: str, error: UnknownStudy | DatabaseUnreachable | SchemaMismatch) -> str:
    """Orthanc's id of a study that the router has not heard of.

    Raises:
        UnknownStudy, AmbiguousStudy
    """
    found = site.orthanc.lookup(name)
    if not found:
        raise UnknownStudy(
            f"no study is known by {name!r}, not to Orthanc either",
            hint="name it by Orthanc id, StudyInstanceUID or accession number",
        ) from error
    if len(found) > 1:
        raise AmbiguousStudy(
            f"{count(len(found), 'study', 'studies')} are known by {name!r}: {', '.join(map(to_type, found[:5]))}",
            hint=f"name one by its Orthanc id: `orthanc routes explain {to_type(found[0])}`",
        )
    return found[0]
