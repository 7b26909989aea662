"""Images by the hundred: encoded once, and given their UIDs where those stand in the bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

from pydicom.uid import UID

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import StoredInstance

MODALITIES: Final = ("CT", "MR")
_SIZES: Final = ((32, 32), (64, 80), (128, 128))
"""Rows and columns of two bytes: from 2 to 32 KiB."""
_ROOT: Final = "1.2.826.0.1.3680043.10.54321"
_NOISE: Final = 16
"""Bytes at the end that differ between any two images."""


@dataclass(frozen=True, slots=True)
class Image:
    """A DICOM file in memory, and what it says of itself."""

    study_uid: str
    sop_instance_uid: str
    modality: str
    content: bytes
    offset: int
    """Of the data set."""


class Maker:
    """Images of one seed; none has the UID of another."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(f"images of {seed}")

    def uid(self) -> str:
        """As long as any other one: it takes the place of one in the bytes of a file."""
        return f"{_ROOT}.{self._dice.randrange(10**34, 10**35)}"

    def image(self, study_uid: str, series_uid: str, modality: str) -> Image:
        uids = {"study": study_uid, "series": series_uid, "instance": self.uid()}
        template, offset = _template(modality, self._dice.choice(_SIZES))
        content = template[:-_NOISE] + self._dice.randbytes(_NOISE)
        for kind, uid in uids.items():
            content = content.replace(_placeholder(kind).encode(), uid.encode())
        return Image(study_uid, uids["instance"], modality, content, offset)

    def twin(self, image: Image) -> Image:
        """The same UID on another content."""
        content = image.content[:-_NOISE] + self._dice.randbytes(_NOISE)
        return Image(image.study_uid, image.sop_instance_uid, image.modality, content, image.offset)


def _placeholder(kind: str) -> str:
    return f"{_ROOT}.{ {'study': 1, 'series': 2, 'instance': 3}[kind] }{'0' * 34}"


@cache
def _template(modality: str, size: tuple[int, int]) -> tuple[bytes, int]:
    study = Study(seed="drill", study_description="CRASH DRILL")
    study.add_series(modality, sizes=[size])
    (dataset,) = study.datasets
    dataset.StudyInstanceUID = _placeholder("study")
    dataset.SeriesInstanceUID = _placeholder("series")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(_placeholder("instance"))
    content = part10(dataset)
    with StoredInstance(content) as stored:
        return content, stored.offset
