"""Synthetic studies: valid CR, DX, CT, MR, Secondary Capture and SR data sets that never were a patient.

::

    study = Study(study_description="BONE LENGTH", accession_number="A1")
    hand = study.add_series("CR", sizes=[(2000, 1500), (1000, 750)], manufacturer="FUJIFILM")
    for dataset in study.datasets:
        storage_association.send_c_store(dataset)

UIDs, identifiers and pixels follow from the seed alone, so a seeded study is the same bytes on every host.
"""

from __future__ import annotations

import random
import uuid
from array import array
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date
from io import BytesIO
from typing import Any, Self

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

SOP_CLASSES: Mapping[str, str] = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "SC": SecondaryCaptureImageStorage,
    "SR": BasicTextSRStorage,
}
"""What `Study.add_series` can make, by the name it takes. SC has Modality OT, the others their name."""

CANARY = "PACSOPS-CANARY"
"""Accession number of studies that only show that routes work; no RIS issues it."""

Size = tuple[int, int]
"""Rows and columns."""

DEFAULT_SIZE: Size = (16, 16)


class Study:
    """One patient's study, to which series are added.

    Args:
        seed: equal seeds give equal studies; None gives a new one each time.
        patient_name: as PS3.5 6.2 writes a person's name, `FAMILY^GIVEN`.
        patient_id, accession_number: made from the seed when not given.
        study_date: today when not given; give it where bytes must be reproducible.
        attributes: any other element of the patient and study, by DICOM keyword.
    """

    def __init__(
        self,
        *,
        seed: str | int | None = None,
        patient_name: str = "SYNTHETIC^PATIENT",
        patient_id: str | None = None,
        study_description: str = "SYNTHETIC STUDY",
        accession_number: str | None = None,
        study_date: date | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._seed = uuid.uuid4().hex if seed is None else str(seed)
        number = random.Random(self._seed).randrange(10**8)  # noqa: S311 - a number on a made-up patient
        common = Dataset()
        common.SpecificCharacterSet = "ISO_IR 192"
        common.PatientName = patient_name
        common.PatientID = f"SYN{number:08d}" if patient_id is None else patient_id
        common.PatientBirthDate = "19700101"
        common.PatientSex = "O"
        common.StudyInstanceUID = self._uid("study")
        common.StudyID = "1"
        common.StudyDate = (study_date or date.today()).strftime("%Y%m%d")
        common.StudyTime = "120000"
        common.StudyDescription = study_description
        common.AccessionNumber = f"ACC{number:08d}" if accession_number is None else accession_number
        common.ReferringPhysicianName = ""
        _set(common, attributes or {})
        self._common = common
        self.series: list[Series] = []

    @classmethod
    def continuing(cls, dataset: Dataset, *, seed: str | int | None = None) -> Self:
        """A study to add results to: patient and study are those of `dataset`, the series are new."""
        study = cls(seed=seed)
        for keyword in _COMMON_KEYWORDS:
            if keyword in dataset:
                study._common[keyword] = deepcopy(dataset[keyword])
        return study

    @property
    def study_uid(self) -> str:
        return str(self._common.StudyInstanceUID)

    @property
    def accession_number(self) -> str:
        return str(self._common.AccessionNumber)

    @property
    def patient_id(self) -> str:
        return str(self._common.PatientID)

    @property
    def datasets(self) -> list[Dataset]:
        """Every instance, in the order it was added within its series."""
        return [dataset for series in self.series for dataset in series.datasets]

    def add_series(
        self,
        kind: str,
        *,
        instances: int = 1,
        sizes: Sequence[Size] | None = None,
        description: str = "",
        manufacturer: str = "PACSOPS",
        attributes: Mapping[str, Any] | None = None,
    ) -> Series:
        """Add a series of `instances` instances, or of one instance for each of `sizes` (rows, columns).

        Args:
            kind: a key of SOP_CLASSES.
            attributes: any other element of the series and its instances, by DICOM keyword.

        Raises:
            KeyError: nothing here makes that kind.
        """
        common = deepcopy(self._common)
        number = len(self.series) + 1
        common.SOPClassUID = SOP_CLASSES[kind]
        common.Modality = "OT" if kind == "SC" else kind
        common.SeriesInstanceUID = self._uid("series", number)
        common.SeriesNumber = number
        common.SeriesDescription = description
        common.Manufacturer = manufacturer
        series = Series(kind, common, f"{self._seed}/{number}", dict(attributes or {}))
        for size in sizes if sizes is not None else [DEFAULT_SIZE] * instances:
            series.add_instance(size)
        self.series.append(series)
        return series

    def _uid(self, *path: object) -> str:
        return _uid(self._seed, *path)


class Series:
    """A series of a synthetic study; `datasets` are complete and ready to send or to write."""

    def __init__(self, kind: str, common: Dataset, seed: str, attributes: Mapping[str, Any]) -> None:
        self._kind = kind
        self._common = common
        self._seed = seed
        self._attributes = attributes
        self.datasets: list[Dataset] = []

    @property
    def series_uid(self) -> str:
        return str(self._common.SeriesInstanceUID)

    def add_instance(self, size: Size = DEFAULT_SIZE) -> Dataset:
        """One more instance of `size` (rows, columns; a report has none)."""
        number = len(self.datasets) + 1
        dataset = deepcopy(self._common)
        dataset.SOPInstanceUID = _uid(self._seed, "instance", number)
        dataset.InstanceNumber = number
        dataset.ContentDate = dataset.StudyDate
        dataset.ContentTime = dataset.StudyTime
        if self._kind == "SR":
            _add_report(dataset)
        else:
            _add_image(dataset, size, f"{self._seed}/{number}")
            _ADDITIONS[self._kind](dataset)
        _set(dataset, self._attributes)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        self.datasets.append(dataset)
        return dataset


def part10(dataset: Dataset) -> bytes:
    """The data set as a DICOM file (PS3.10 7.1): preamble, file meta information, data set."""
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


_COMMON_KEYWORDS = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def _uid(*path: object) -> str:
    return str(generate_uid(entropy_srcs=["pacsops synthetic", *map(str, path)]))


def _set(dataset: Dataset, attributes: Mapping[str, Any]) -> None:
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)


def _add_image(dataset: Dataset, size: Size, seed: str) -> None:
    """Image Pixel module (PS3.3 C.7.6.3): 12 bits stored in 16, one noisy line that shifts from row to row."""
    rows, columns = size
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    noise = random.Random(seed)  # noqa: S311 - pixels, no secret
    line = array("H", (noise.getrandbits(12) for _ in range(columns)))
    pixels = array("H")
    for row in range(rows):
        shift = row % columns
        pixels += line[shift:] + line[:shift]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"


def _add_cr(dataset: Dataset) -> None:
    dataset.BodyPartExamined = "HAND"
    dataset.ViewPosition = "AP"
    dataset.Laterality = "L"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]


def _add_dx(dataset: Dataset) -> None:
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.WindowCenter, dataset.WindowWidth = "2048", "4096"
    dataset.BodyPartExamined = "HAND"
    dataset.ImageLaterality = "L"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ImagerPixelSpacing = ["0.15", "0.15"]
    dataset.DetectorType = "DIRECT"
    dataset.AcquisitionContextSequence = DicomSequence()
    dataset.AnatomicRegionSequence = DicomSequence([_code("85562004", "SCT", "Hand")])
    dataset.ViewCodeSequence = DicomSequence([_code("399348003", "SCT", "antero-posterior")])


def _add_plane(dataset: Dataset) -> None:
    """Frame of Reference and Image Plane (PS3.3 C.7.4.1, C.7.6.2): axial, 5 mm apart."""
    position = 5 * (dataset.InstanceNumber - 1)
    dataset.FrameOfReferenceUID = _uid(dataset.SeriesInstanceUID, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.PixelSpacing = ["0.5", "0.5"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.ImagePositionPatient = ["0", "0", str(position)]
    dataset.SliceThickness = "5"
    dataset.PatientPosition = "HFS"
    dataset.AcquisitionNumber = 1


def _add_ct(dataset: Dataset) -> None:
    _add_plane(dataset)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    dataset.KVP = "120"


def _add_mr(dataset: Dataset) -> None:
    _add_plane(dataset)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "NONE", ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = "500", "15", 1


def _add_sc(dataset: Dataset) -> None:
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]


_ADDITIONS = {"CR": _add_cr, "DX": _add_dx, "CT": _add_ct, "MR": _add_mr, "SC": _add_sc}


def _add_report(dataset: Dataset) -> None:
    """SR Document General and Content modules (PS3.3 C.17.2, C.17.3): an unverified report of one sentence."""
    dataset.ReferencedPerformedProcedureStepSequence = DicomSequence()
    dataset.PerformedProcedureCodeSequence = DicomSequence()
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = DicomSequence([_code("18748-4", "LN", "Diagnostic imaging report")])
    dataset.ContinuityOfContent = "SEPARATE"
    finding = Dataset()
    finding.RelationshipType = "CONTAINS"
    finding.ValueType = "TEXT"
    finding.ConceptNameCodeSequence = DicomSequence([_code("121071", "DCM", "Finding")])
    finding.TextValue = "A synthetic finding."
    dataset.ContentSequence = DicomSequence([finding])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
