"""What the routes are told of a study is what its files say."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study, results_for

from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc import INDEXED_KEYWORDS, complete, study_facts
from pacsops.orthanc.identifiers import instance_id

_BY_VR = {"DA": "20240102", "TM": "101112", "IS": "3", "CS": "A_CODE", "PN": "DOE^JOHN", "AS": "050Y"}
_OF_THE_OBJECT = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"}


def test_every_indexed_keyword_is_served_from_the_index_as_from_the_file(orthanc: OrthancServer) -> None:
    values = {
        keyword: _BY_VR.get(dictionary_VR(tag_for_keyword(keyword) or 0), f"a {keyword}"[:16])
        for keyword in INDEXED_KEYWORDS - _OF_THE_OBJECT
    }
    study_id = a_study().with_series("CT", attributes=values).in_(orthanc)

    _, facts = study_facts(orthanc.client, study_id)

    [instance] = facts.instances
    assert set(instance.tags) == INDEXED_KEYWORDS
    [whole] = complete(orthanc.client, facts, [instance.instance_id]).instances
    assert {keyword: whole.tags[keyword] for keyword in INDEXED_KEYWORDS} == instance.tags
    assert {keyword: instance.tags[keyword] for keyword in values} == values


@pytest.mark.parametrize("patient_id", ["MRN-1", "", " padded "])
def test_what_orthanc_calls_an_image_follows_from_what_dicom_calls_it(
    orthanc: OrthancServer, patient_id: str
) -> None:
    study = a_study().with_series("CT", attributes={"PatientID": patient_id})
    [dataset] = study.datasets

    _, facts = study_facts(orthanc.client, study.in_(orthanc))

    called = instance_id(patient_id, study.study_uid, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    assert [instance.instance_id for instance in facts.instances] == [called]


def test_images_carry_their_series_and_their_sender(orthanc: OrthancServer) -> None:
    study = a_study(description="BONE LENGTH").with_series("CR", instances=2, manufacturer="FUJIFILM")
    study_id = study.in_(orthanc, calling_aet="CR_ROOM1")
    results = results_for(study.datasets[0]).with_series("SR", manufacturer="STANFORDAIDE")
    assert results.in_(orthanc, calling_aet="MERCURE") == study_id

    header, facts = study_facts(orthanc.client, study_id)

    assert header.study_id == facts.study_id == study_id
    seen = sorted((i.tags["Modality"], i.tags["Manufacturer"], i.sender_aet) for i in facts.instances)
    assert seen == [
        ("CR", "FUJIFILM", "CR_ROOM1"),
        ("CR", "FUJIFILM", "CR_ROOM1"),
        ("SR", "STANFORDAIDE", "MERCURE"),
    ]
    assert len({i.series_id for i in facts.instances}) == 2
    assert [i.instance_id for i in facts.instances] == sorted(i.instance_id for i in facts.instances)
    assert all(i.tags["StudyDescription"] == "BONE LENGTH" for i in facts.instances)


def test_an_upload_has_no_sender(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("CR").in_(orthanc)

    _, facts = study_facts(orthanc.client, study_id)

    assert facts.instances[0].sender_aet is None


def test_a_result_made_elsewhere_does_not_bear_the_scanners_institution(orthanc: OrthancServer) -> None:
    study = a_study().with_series("CR", attributes={"InstitutionName": "SCANNER'S"})
    study_id = study.in_(orthanc)
    results = results_for(study.datasets[0])
    results.with_series("SR", attributes={"InstitutionName": "CLOUD"}).in_(orthanc)

    _, facts = study_facts(orthanc.client, study_id)
    whole = complete(orthanc.client, facts, [i.instance_id for i in facts.instances])

    assert all("InstitutionName" not in i.tags for i in facts.instances)
    assert {i.tags["Modality"]: i.tags["InstitutionName"] for i in whole.instances} == {
        "CR": "SCANNER'S",
        "SR": "CLOUD",
    }


def test_only_the_images_asked_for_are_read_whole(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("CR", sizes=[(10, 20), (30, 40)]).in_(orthanc)
    _, facts = study_facts(orthanc.client, study_id)
    first, second = facts.instances

    completed = complete(orthanc.client, facts, {second.instance_id})

    assert completed.instances[0] == first
    assert "Rows" not in first.tags
    tags = completed.instances[1].tags
    assert (tags["Rows"], tags["Columns"]) in {("10", "20"), ("30", "40")}
    assert tags["PatientOrientation"] == "L\\F"


def test_sequences_are_not_tags(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("SR").in_(orthanc)
    _, facts = study_facts(orthanc.client, study_id)

    [report] = complete(orthanc.client, facts, [facts.instances[0].instance_id]).instances

    assert "ContentSequence" not in report.tags
    assert report.tags["CompletionFlag"] == "COMPLETE"


def test_a_study_that_is_gone_is_not_found(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("CR").in_(orthanc)
    _, facts = study_facts(orthanc.client, study_id)
    orthanc.delete_study(study_id)

    with pytest.raises(NotFoundInOrthanc):
        study_facts(orthanc.client, study_id)
    with pytest.raises(NotFoundInOrthanc):
        complete(orthanc.client, facts, [facts.instances[0].instance_id])


def test_texts_longer_than_orthanc_indexes_are_read_whole(orthanc: OrthancServer) -> None:
    long = {"PatientComments": "p" * 400, "ImageComments": "i" * 300, "TextComments": "retired " * 50}
    study_id = a_study().with_series("CR", attributes=long).in_(orthanc)
    _, facts = study_facts(orthanc.client, study_id)

    whole = complete(orthanc.client, facts, [facts.instances[0].instance_id])

    tags = whole.instances[0].tags
    assert {keyword: tags[keyword].strip() for keyword in long} == {key: text.strip() for key, text in long.items()}
