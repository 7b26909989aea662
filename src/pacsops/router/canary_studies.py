"""For a route, a synthetic study that it takes: values are made up that its conditions hold for.

Pure. Whether a route is really taken is judged by the language itself, so a value that was guessed wrongly makes a
route that could not be tried, never a wrong verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from warnings import catch_warnings

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.valuerep import FLOAT_VR, INT_VR

from pacsops.dicom.synthetic import CANARY, SOP_CLASSES, Study
from pacsops.routes import InstanceFacts, Route, RouteTable, StudyFacts
from pacsops.routes.conditions import Condition, Contains, EndsWith, Equals, In, Matches, StartsWith
from pacsops.routes.model import FieldMatch

_SENDER = "PACSOPS_CANARY"
_MARKS = frozenset({"AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"})
"""By these a canary is known, or is what it is: they are not made up."""


_ANYTHING = (CANARY, "CANARY", "1", "20200101", "")
"""For conditions that only say what a value is not; not every kind of element can hold each of them."""


class Untriable(ValueError):
    """No canary can be made that the route takes; the message says why."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A synthetic study of one image, for one route."""

    route: Route
    dataset: Dataset
    sender_aet: str | None
    """The AE title it has to come from; None: any."""

    @property
    def study_uid(self) -> str:
        return str(self.dataset.StudyInstanceUID)

    @property
    def facts(self) -> StudyFacts:
        tags = {element.keyword: _text(element.value) for element in self.dataset if element.keyword != "PixelData"}
        return StudyFacts("canary", (InstanceFacts("canary", "canary", self.sender_aet, tags),))


def canary_for(route: Route, table: RouteTable) -> Canary:
    """A new canary that `route` takes, as the routes of `table` stand.

    Raises:
        Untriable: none can be made.
    """
    sender_aet: str | None = None
    attributes: dict[str, str | int | float] = {}
    for line in route.match:
        value = _value(line)
        if value is None:
            raise Untriable(f"no value of {line.field.name} was found that its conditions hold for")
        if line.field.keyword is None:
            sender_aet = str(value) if value != CANARY else _SENDER
        elif line.field.keyword in _MARKS:
            raise Untriable(f"it asks for {line.field.name}, by which canaries are known")
        else:
            attributes[line.field.keyword] = value
    modality = str(attributes.get("Modality", "SC"))
    study = Study(patient_name="PACSOPS^CANARY", study_description=CANARY, accession_number=CANARY)
    study.add_series(modality if modality in SOP_CLASSES else "SC", manufacturer=CANARY, attributes=attributes)
    canary = Canary(route, study.datasets[0], sender_aet)
    taken = table.matched(canary.facts)
    if route.name in taken:
        return canary
    if taken:
        raise Untriable(f"what it would take is taken by {taken[-1]} before it")
    raise Untriable("no values were found that all of its conditions hold for")


def _value(line: FieldMatch) -> str | int | float | None:
    for text in _guesses(line.conditions):
        if all(condition.holds(text) for condition in line.conditions):
            value = text if line.field.keyword is None else _as_dicom(line.field.keyword, text)
            if value is not None:
                return value
    return None


def _as_dicom(keyword: str, text: str) -> str | int | float | None:
    """What the element holds for it to read like `text`; None where it can hold no such value (PS3.5 6.2)."""
    vr = dictionary_VR(keyword)
    try:
        value = int(text) if vr in INT_VR else float(text) if vr in FLOAT_VR else text
        with catch_warnings(action="error"):
            setattr(Dataset(), keyword, value)
    except (ValueError, TypeError, OverflowError, UserWarning):
        return None
    return value


def _guesses(conditions: Sequence[Condition]) -> Iterator[str]:
    beginning = end = ""
    between: list[str] = []
    for condition in conditions:
        match condition:
            case Equals(text):
                yield text
            case In(texts):
                yield from texts
            case StartsWith(text):
                beginning = max(beginning, text, key=len)
            case EndsWith(text):
                end = max(end, text, key=len)
            case Contains(text):
                between.append(text)
            case Matches(pattern):
                for branch in pattern.split("|"):
                    plain = re.sub(r"\\[bAzZ]|[\^$()]", "", branch)
                    yield plain.replace("\\", "")
                    between.append(re.sub(r"\.[*+]\??|\\s[*+]?", " ", plain).replace("\\", ""))
    yield from (text for text in between if not beginning and not end)
    yield " ".join(text for text in (beginning, *between, end) if text)
    yield beginning + end
    yield from _ANYTHING


def _text(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
