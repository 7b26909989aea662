"""What the routes look at: the tags of a study's images, from Orthanc's index; from the files only on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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

SERIES_KEYWORDS = _PATIENT_AND_STUDY | _SERIES
"""Those that every image of a series shares: to know them, the images themselves need not be asked about."""

_IMAGES_AT_ONCE = 2000
"""Of one request: two seconds' work for an index in PostgreSQL."""
_SLOWLY_SECONDS = 60.0
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
    header = StudyHeader.of(study)
    common = _common(header)
    facts = (
        _instance_facts(instance, common, series[instance["ParentSeries"]])
        for instance in instances
        if instance["ParentSeries"] in series
    )
    return header, _in_order(study_id, facts)


def facts_of_studies(
    orthanc: Orthanc, headers: Sequence[StudyHeader], *, by_series: bool
) -> Iterator[tuple[StudyHeader, StudyFacts]]:
    """Many studies in few requests: two for each two thousand images; one for all when `by_series`.

    Args:
        by_series: the facts have SERIES_KEYWORDS only, and the sender of an image is the one its series began with.

    Studies that were deleted meanwhile are left out.
    """
    series = _by_study(
        orthanc.bulk_content([header.study_id for header in headers], "Series", timeout=_SLOWLY_SECONDS)
    )
    waiting: list[StudyHeader] = []
    images = 0
    for header in headers:
        if header.study_id not in series:
            continue
        if by_series:
            yield header, _facts_by_series(header, series[header.study_id])
            continue
        waiting.append(header)
        images += sum(len(entry["Instances"]) for entry in series[header.study_id])
        if images >= _IMAGES_AT_ONCE:
            yield from _facts_by_image(orthanc, waiting, series)
            waiting, images = [], 0
    if waiting:
        yield from _facts_by_image(orthanc, waiting, series)


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


def _by_study(series: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in series:
        found.setdefault(entry["ParentStudy"], []).append(entry)
    return found


def _facts_by_series(header: StudyHeader, series: Iterable[dict[str, Any]]) -> StudyFacts:
    instances = (
        InstanceFacts(
            instance_id=instance_id,
            series_id=entry["ID"],
            sender_aet=entry.get("Metadata", {}).get("RemoteAET") or None,
            tags=tags,
        )
        for entry in series
        for tags in [{**_common(header), **_pick(entry["MainDicomTags"], _SERIES)}]
        for instance_id in entry["Instances"]
    )
    return _in_order(header.study_id, instances)


def _facts_by_image(
    orthanc: Orthanc, headers: Sequence[StudyHeader], series: Mapping[str, list[dict[str, Any]]]
) -> Iterator[tuple[StudyHeader, StudyFacts]]:
    known = {entry["ID"]: entry for header in headers for entry in series[header.study_id]}
    images = orthanc.bulk_content([header.study_id for header in headers], "Instance", timeout=_WHOLE_STUDY_SECONDS)
    of_study: dict[str, list[dict[str, Any]]] = {}
    for image in images:
        if image["ParentSeries"] in known:
            of_study.setdefault(known[image["ParentSeries"]]["ParentStudy"], []).append(image)
    for header in headers:
        common = _common(header)
        facts = (
            _instance_facts(image, common, known[image["ParentSeries"]])
            for image in of_study.get(header.study_id, ())
        )
        yield header, _in_order(header.study_id, facts)


def _in_order(study_id: str, instances: Iterable[InstanceFacts]) -> StudyFacts:
    return StudyFacts(study_id, tuple(sorted(instances, key=lambda instance: instance.instance_id)))


def _instance_facts(instance: dict[str, Any], common: Mapping[str, str], series: Mapping[str, Any]) -> InstanceFacts:
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


def _common(header: StudyHeader) -> dict[str, str]:
    """What every image of the study shares."""
    return _pick(header.tags, _PATIENT_AND_STUDY)


def _pick(tags: Mapping[str, str], keywords: Collection[str]) -> dict[str, str]:
    return {keyword: value for keyword, value in tags.items() if keyword in keywords}
