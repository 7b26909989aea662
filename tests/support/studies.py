"""Studies for tests, in a line: `a_study(description="BONE LENGTH").with_series("CR").in_(orthanc)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydicom import Dataset
from tests.support.orthanc import OrthancServer

from pacsops.dicom.synthetic import Series, Size, Study


def a_study(
    *,
    description: str = "SYNTHETIC STUDY",
    accession: str | None = None,
    patient_name: str = "SYNTHETIC^PATIENT",
    patient_id: str | None = None,
    seed: str | int | None = None,
    **attributes: Any,
) -> StudyBuilder:
    """A new study without series; `attributes` by DICOM keyword go to every instance."""
    return StudyBuilder(
        Study(
            seed=seed,
            patient_name=patient_name,
            patient_id=patient_id,
            study_description=description,
            accession_number=accession,
            attributes=attributes,
        )
    )


def results_for(dataset: Dataset) -> StudyBuilder:
    """New series for the study `dataset` belongs to, as an AI that read it would make."""
    return StudyBuilder(Study.continuing(dataset))


class StudyBuilder:
    """Grows a `Study` and puts what is new into Orthanc."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._stored: set[str] = set()

    @property
    def datasets(self) -> list[Dataset]:
        return self.study.datasets

    @property
    def study_uid(self) -> str:
        return self.study.study_uid

    @property
    def accession(self) -> str:
        return self.study.accession_number

    @property
    def uids(self) -> list[str]:
        """SOP instance UIDs."""
        return [str(dataset.SOPInstanceUID) for dataset in self.datasets]

    @property
    def series(self) -> list[Series]:
        return self.study.series

    def with_series(
        self,
        kind: str,
        *,
        instances: int = 1,
        sizes: Sequence[Size] | None = None,
        manufacturer: str = "PACSOPS",
        description: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Self:
        """`kind`: CR, DX, CT, MR, SC, SR; `sizes`: (rows, columns) of each instance instead of `instances`."""
        self.study.add_series(
            kind,
            instances=instances,
            sizes=sizes,
            manufacturer=manufacturer,
            description=description,
            attributes=attributes,
        )
        return self

    def in_(self, orthanc: OrthancServer, *, calling_aet: str | None = None) -> str:
        """Store what was not stored yet; by C-STORE from `calling_aet`, else by REST. Orthanc's study id."""
        new = [dataset for dataset in self.datasets if str(dataset.SOPInstanceUID) not in self._stored]
        if calling_aet is None:
            orthanc.upload(new)
        else:
            orthanc.store(new, calling_aet=calling_aet)
        self._stored |= {str(dataset.SOPInstanceUID) for dataset in new}
        return orthanc.study_id(self.study_uid)
