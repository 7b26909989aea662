"""What the routes look at: the tags of a study's images, from Orthanc's index; from the files only on demand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pydicom.datadict import keyword_for_tag

from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc.client import Orthanc, StudyHeader
from pacsops.routes.model import InstanceFacts, StudyFacts

_PATIENT_AND_STUDY = frozenset(
    {
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "StudyInstanceUID",
        "RequestedProcedureDescription",
        "ReferringPhysicianName",
        "RequestingPhysician",
    }
)
_SERIES = frozenset(
    {
        "SeriesDate",
        "SeriesTime",
        "Modality",
        "Manufacturer",
        "StationName",
        "SeriesDescription",
        "BodyPartExamined",
        "ProtocolName",
        "SeriesNumber",
        "SeriesInstanceUID",
        "OperatorsName",
        "PerformedProcedureStepDescription",
    }
)
_INSTANCE = frozenset({"InstanceNumber", "NumberOfFrames", "SOPInstanceUID", "AcquisitionNumber"})

INDEXED_KEYWORDS = _PATIENT_AND_STUDY | _SERIES | _INSTANCE | {"SOPClassUID"}
"""DICOM keywords Orthanc's index answers rightly for every instance, whatever its version from 1.10 on.

Left out although indexed: InstitutionName, which Orthanc keeps once a study, while it belongs to the equipment
(PS3.3 C.7.5.1), so that a result made elsewhere would bear the scanner's; series tags that vary between images; and
those that may be longer than the 256 characters Orthanc indexes.
"""

_WHOLE_STUDY_SECONDS = 120.0  # tens of thousands of images, on a busy index


def study_facts(orthanc: Orthanc, study_id: str) -> tuple[StudyHeader, StudyFacts]:
    """The study and its images, sorted by instance id, with the tags of INDEXED_KEYWORDS. Three requests.

    Raises:
        NotFoundInOrthanc: the study is not there (any more).
    """
    # Bottom up: a series or study read after an instance is there, however much arrives meanwhile.
    instances = orthanc.bulk_content([study_id], "Instance", timeout=_WHOLE_STUDY_SECONDS)
    series = {entry["ID"]: entry for entry in orthanc.bulk_content([study_id], "Series")}
    study = next((entry for entry in orthanc.bulk_content([study_id], "Study") if entry["ID"] == study_id), None)
    if study is None:
        raise NotFoundInOrthanc(f"study {study_id} is not in Orthanc", status=404, details="Unknown resource")
    common = _pick({**study.get("PatientMainDicomTags", {}), **study["MainDicomTags"]}, _PATIENT_AND_STUDY)
    facts = (
        _instance_facts(instance, common, series[instance["ParentSeries"]])
        for instance in instances
        if instance["ParentSeries"] in series
    )
    ordered = tuple(sorted(facts, key=lambda instance: instance.instance_id))
    return StudyHeader.of(study), StudyFacts(study_id=study_id, instances=ordered)


def complete(orthanc: Orthanc, facts: StudyFacts, instance_ids: Collection[str]) -> StudyFacts:
    """The same facts with every tag of these instances' files but sequences. One request an instance, and one
    for each text of more than 256 characters.

    Raises:
        NotFoundInOrthanc: one of them is not there (any more).
    """
    return replace(
        facts,
        instances=tuple(
            _completed(orthanc, instance) if instance.instance_id in instance_ids else instance
            for instance in facts.instances
        ),
    )


def _instance_facts(instance: dict[str, Any], common: dict[str, str], series: dict[str, Any]) -> InstanceFacts:
    metadata = instance.get("Metadata", {})
    tags = {**common, **_pick(series["MainDicomTags"], _SERIES), **_pick(instance["MainDicomTags"], _INSTANCE)}
    if metadata.get("SopClassUid"):
        tags["SOPClassUID"] = metadata["SopClassUid"]
    return InstanceFacts(
        instance_id=instance["ID"],
        series_id=series["ID"],
        sender_aet=metadata.get("RemoteAET") or None,
        tags=tags,
    )


def _completed(orthanc: Orthanc, instance: InstanceFacts) -> InstanceFacts:
    path = f"/instances/{instance.instance_id}/tags"
    texts = {}
    tags: dict[str, dict[str, Any]] = orthanc.get(path)
    for tag, found in tags.items():
        # By number, not by Orthanc's name for it: retired tags are RETIRED_… there.
        keyword = keyword_for_tag(int(tag.replace(",", ""), 16))
        if keyword and found["Type"] == "TooLong":
            # Orthanc withholds what is longer than 256 characters, unless asked for it; for one tag a request.
            found = orthanc.get(path, params={"ignore-length": tag.replace(",", "-")})[tag]  # noqa: PLW2901
        if keyword and found["Type"] == "String":
            texts[keyword] = found["Value"]
    return replace(instance, tags={**instance.tags, **texts})


def _pick(tags: dict[str, str], keywords: Collection[str]) -> dict[str, str]:
    return {keyword: value for keyword, value in tags.items() if keyword in keywords}
