"""Images for a simulated scanner: real files or made-up studies, as they are or with something written over."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import Instance, StoredInstance, UnreadableFile

IMAGES_A_STUDY: Final = 3
_SIZE: Final = (256, 256)
_UTF_8: Final = "ISO_IR 192"
_BROKEN: Final = (AttributeError, EOFError, KeyError, NotImplementedError, OSError, TypeError, ValueError)
"""What pydicom raises for files that are not what they should be."""
_PERSONAL: Final = ("PatientID", "PatientName", "SeriesDescription")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is written over in each image; None and False: nothing."""

    new_uids: bool = False
    """Study, series and image get new UIDs, anew in every round; what belonged together still does."""
    study_uid: str | None = None
    series_uid: str | None = None
    sop_uid: str | None = None
    patient_id: str | None = None
    patient_name: str | None = None
    series_description: str | None = None

    def __bool__(self) -> bool:
        return self != _NO_CHANGES

    @property
    def texts(self) -> dict[str, str]:
        """Values by DICOM keyword, UIDs aside."""
        said = zip(_PERSONAL, (self.patient_id, self.patient_name, self.series_description), strict=True)
        return {keyword: value for keyword, value in said if value is not None}


_NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Image:
    """One image, ready to be sent: the path of a DICOM file, or the content of one."""

    source: str
    """Where it came from, for people."""
    study_uid: str
    sop_instance_uid: str
    content: Path | bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Original:
    """An image before anything is written over. `read` gives its data set, a new one each time."""

    source: str
    instance: Instance
    study_uid: str
    series_uid: str
    read: Callable[[], Dataset] = field(repr=False)
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An image that is made when its turn comes: thousands need no more memory than one."""

    original: Original
    make: Callable[[], Image] = field(repr=False)


def files(paths: Iterable[Path]) -> tuple[list[Original], list[str]]:
    """The DICOM files among these files and below these folders, in order; and why others below them are none.

    Raises:
        UnreadableFile: one that was named itself is no DICOM file.
    """
    found, others = [], []
    for path in paths:
        if not path.is_dir():
            found.append(_original(path))
            continue
        for below in sorted(each for each in path.rglob("*") if each.is_file()):
            try:
                found.append(_original(below))
            except UnreadableFile as error:
                others.append(str(error))
    return found, others


def generated(number: int, changes: Changes, numbers: Callable[[], int] | None = None) -> list[Original]:
    """As many made-up studies, of one CT series of 3 images each, with the texts of `changes`.

    Args:
        numbers: gives each study a number: PatientID `EDGE-7`, StudyID `7`, AccessionNumber `SIM-7`.
    """
    originals = []
    for _ in range(number):
        study = _MadeUp(
            seed=uuid.uuid4().hex,
            number=numbers() if numbers else None,
            texts=tuple(changes.texts.items()),
        )
        originals += [
            Original(
                "generated",
                Instance(dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.file_meta.TransferSyntaxUID),
                dataset.StudyInstanceUID,
                dataset.SeriesInstanceUID,
                partial(_read, study, position),
            )
            for position, dataset in enumerate(_datasets(study))
        ]
    return originals


def drafts(originals: Sequence[Original], changes: Changes, *, rounds: int = 1) -> Iterator[Draft]:
    """Every image in every round, with `changes` written over it. What nothing is written over stays as it is."""
    run = uuid.uuid4().hex
    for number in range(rounds):
        uids = _Uids(originals, changes, f"{run}/{number}")
        for original in originals:
            yield Draft(original, partial(_made, original, changes, uids))


@dataclass(frozen=True, slots=True, kw_only=True)
class _MadeUp:
    """What a made-up study follows from."""

    seed: str
    number: int | None
    texts: tuple[tuple[str, str], ...]


@lru_cache(maxsize=4)
def _datasets(made_up: _MadeUp) -> list[Dataset]:
    texts = dict(made_up.texts)
    numbered = made_up.number is not None
    patient_id = texts.get("PatientID", "SIM" if numbered else None)
    study = Study(
        seed=made_up.seed,
        patient_name=texts.get("PatientName", "SIMULATED^PATIENT"),
        patient_id=f"{patient_id}-{made_up.number}" if numbered else patient_id,
        study_description="SIMULATED STUDY",
        accession_number=f"SIM-{made_up.number}" if numbered else None,
        attributes={"StudyID": str(made_up.number)} if numbered else None,
    )
    description = texts.get("SeriesDescription", "SIMULATED")
    study.add_series("CT", sizes=[_SIZE] * IMAGES_A_STUDY, description=description)
    return study.datasets


def _read(made_up: _MadeUp, position: int) -> Dataset:
    return deepcopy(_datasets(made_up)[position])


def _original(path: Path) -> Original:
    with StoredInstance(path) as stored:
        instance = stored.instance
    try:
        head = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
        study, series = str(head.get("StudyInstanceUID", "")), str(head.get("SeriesInstanceUID", ""))
    except (InvalidDicomError, *_BROKEN) as error:
        raise UnreadableFile(f"{path} is no whole DICOM file") from error
    return Original(str(path), instance, study, series, partial(dcmread, path), path)


class _Uids:
    """What the UIDs of one round become, where they name its images, series and studies."""

    def __init__(self, originals: Sequence[Original], changes: Changes, seed: str) -> None:
        self._new_uids = changes.new_uids
        self._seed = seed
        self._said: dict[str, str | None] = {}
        for original in originals:
            self._said[original.study_uid] = changes.study_uid
            self._said[original.series_uid] = changes.series_uid
            self._said[original.instance.sop_instance_uid] = changes.sop_uid

    def __getitem__(self, uid: str) -> str:
        if uid not in self._said:
            return uid
        return self._said[uid] or (generate_uid(entropy_srcs=[self._seed, uid]) if self._new_uids else uid)


def _made(original: Original, changes: Changes, uids: _Uids) -> Image:
    """
    Raises:
        UnreadableFile: the file cannot be read or written whole.
    """
    if original.path is not None and not changes:
        return Image(original.source, original.study_uid, original.instance.sop_instance_uid, original.path)
    try:
        with disable_value_validation():  # what real files hold is theirs; it goes out as it came
            dataset = original.read()
            if changes:
                _write_over(dataset, changes, uids)
            content = part10(dataset)
    except (InvalidDicomError, *_BROKEN) as error:
        raise UnreadableFile(f"{original.source} cannot be written over: {type(error).__name__}") from error
    return Image(original.source, str(dataset.get("StudyInstanceUID", "")), str(dataset.SOPInstanceUID), content)


def _write_over(dataset: Dataset, changes: Changes, uids: _Uids) -> None:
    _replace_uids(dataset, uids)
    # Those a file lacks, where they are wanted.
    for keyword, said in (("StudyInstanceUID", changes.study_uid), ("SeriesInstanceUID", changes.series_uid)):
        if said:
            setattr(dataset, keyword, said)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    texts = changes.texts
    if not all(text.isascii() for text in texts.values()) and dataset.get("SpecificCharacterSet") != _UTF_8:
        dataset.decode()
        dataset.SpecificCharacterSet = _UTF_8
    for keyword, text in texts.items():
        setattr(dataset, keyword, text)


def _replace_uids(dataset: Dataset, uids: _Uids) -> None:
    """In the data set and in the sequences of it. Elements that are neither stay undecoded, and so as they are."""
    for tag in list(dataset.keys()):
        representation = dataset.get_item(tag).VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "")
        if representation == "UI":
            element = dataset[tag]
            if isinstance(element.value, str):
                element.value = uids[element.value]
            elif element.value:
                element.value = [uids[each] for each in element.value]
        elif representation == "SQ":
            for item in dataset[tag].value:
                _replace_uids(item, uids)
