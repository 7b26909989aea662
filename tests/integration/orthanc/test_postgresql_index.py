"""Orthanc with its index in PostgreSQL, as a site runs it, answers as the one with SQLite does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.postgres import PostgresServer
from tests.support.studies import a_study

from pacsops.orthanc import all_modalities, changes, complete, ensure, last_change, study_facts


@pytest.fixture
def orthanc(postgres: PostgresServer) -> Iterator[OrthancServer]:
    with OrthancServer(postgres=postgres) as server:
        yield server


def test_studies_changes_and_modalities_are_served_and_outlive_a_restart(orthanc: OrthancServer) -> None:
    study = a_study(accession="A1").with_series("CR", instances=2)
    study_id = study.in_(orthanc, calling_aet="CR_ROOM1")
    modality = Peer("MODLINK").modality()
    ensure(orthanc.client, modality)

    orthanc.restart()

    assert orthanc.client.system()["DatabaseBackendPlugin"] is not None
    assert orthanc.client.lookup("A1") == orthanc.client.lookup(study.study_uid) == [study_id]
    assert all_modalities(orthanc.client) == {"MODLINK": modality}
    _, facts = study_facts(orthanc.client, study_id)
    whole = complete(orthanc.client, facts, [instance.instance_id for instance in facts.instances])
    assert sorted(instance.tags["SOPInstanceUID"] for instance in whole.instances) == sorted(study.uids)
    assert {instance.sender_aet for instance in facts.instances} == {"CR_ROOM1"}
    newest = last_change(orthanc.client)
    assert [row.resource_id for row in changes(orthanc.client, 0).rows if row.type == "NewStudy"] == [study_id]
    assert changes(orthanc.client, newest).rows == ()
    assert changes(orthanc.client, newest).last == newest
