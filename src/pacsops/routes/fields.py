"""The fields a route may look at: nine common names, any DICOM keyword, and its snake_case spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pydicom.datadict import dictionary_VR, keyword_dict

SOURCE_AET = "source_aet"

COMMON: Mapping[str, str] = MappingProxyType(
    {
        "study_description": "StudyDescription (0008,1030): the study as the RIS or the operator named it",
        "series_description": "SeriesDescription (0008,103E)",
        "modality": "Modality (0008,0060) of the series: CR, CT, MR, SR, …",
        "manufacturer": "Manufacturer (0008,0070) of the equipment that made the image",
        "patient_name": "PatientName (0010,0010), compared whole: DOE^JOHN",
        "patient_id": "PatientID (0010,0020)",
        "institution_name": "InstitutionName (0008,0080)",
        "station_name": "StationName (0008,1010)",
        SOURCE_AET: "AE title of the system that sent the image",
    }
)
"""Name in routes.yml → what it is."""

_NOT_TEXT = frozenset(
    {"SQ", "OB", "OW", "OB or OW", "US or OW", "US or SS or OW", "OD", "OF", "OL", "OV", "UN", "NONE"}
)
_ONLY_IN_QUERIES = re.compile(
    r"ModalitiesInStudy|SOPClassesInStudy|QueryRetrieveLevel|RetrieveAETitle|InstanceAvailability"
    r"|NumberOf(Patient|Study|Series)Related\w+"
)
"""Attributes an archive computes for its C-FIND answers (PS3.4 C.3.4); no image carries them."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to look at in an image. `keyword` is None for the sender's AE title, which is no DICOM tag."""

    name: str
    """As routes.yml spells it."""
    keyword: str | None


class UnknownField(ValueError):
    """No image has such a field; the message says why, `candidates` are spellings that exist."""

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


def field_named(name: str) -> Field:
    """The field `name` stands for.

    Raises:
        UnknownField: no such keyword, or one whose value cannot be compared as text in an image.
    """
    if name == SOURCE_AET:
        return Field(name, None)
    tag = _tags().get(name)
    if tag is None:
        raise UnknownField("is neither a field nor a DICOM keyword", (*COMMON, *_tags()))
    keyword = _keywords()[tag]
    if keyword == "SourceApplicationEntityTitle":
        raise UnknownField("is not kept with the images; the sender's AE title is the field `source_aet`")
    if tag >> 16 < 0x0008:
        raise UnknownField("belongs to the network message or the file header, not to the image")
    if _ONLY_IN_QUERIES.fullmatch(keyword):
        raise UnknownField("exists only in answers to a query, no image carries it")
    vr = dictionary_VR(tag)
    if vr in _NOT_TEXT:
        raise UnknownField(f"holds {'a sequence' if vr == 'SQ' else 'binary data'}, not a text to compare")
    return Field(name, keyword)


def snake_case(keyword: str) -> str:
    """BodyPartExamined → body_part_examined, SOPClassUID → sop_class_uid."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


@cache
def _keywords() -> Mapping[int, str]:
    return {tag: keyword for keyword, tag in keyword_dict.items() if keyword}


@cache
def _tags() -> Mapping[str, int]:
    """Every spelling → tag."""
    keywords = {keyword: tag for tag, keyword in _keywords().items()}
    return {snake_case(keyword): tag for keyword, tag in keywords.items()} | keywords
