"""MERCURE: answers every image with a measured one, a table of the measures, and a structured report.

Its list of work is its folder: an image without an `.answered` file beside it still has to be answered, so a
restart at any moment finishes the job. The results' UIDs follow from the image's, so what is sent twice is the
same object twice.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from network import Neighbour, NotTaken, Orthanc, say, store
from pydicom import Dataset, dcmread
from reception import write_durably

from pacsops.dicom.synthetic import Study

MANUFACTURER = "STANFORDAIDE"
PICTURE = "QA Visualization"
TABLE = "QA Table Visualization"
REPORT = "Leg Length Report"
THINKING = 1.5
"""Seconds a measurement takes."""
RETRY = 2.0
"""Seconds between attempts to hand results to Orthanc."""


class Mercure:
    """The thread that works the folder off."""

    def __init__(self, neighbour: Neighbour, orthanc: Orthanc) -> None:
        self._neighbour = neighbour
        self._orthanc = orthanc
        self._noticed = threading.Event()
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name="mercure")

    def start(self) -> None:
        """Begin with what a former run left unanswered."""
        self._worker.start()

    def stop(self) -> None:
        """Finish the answer on its way, no other."""
        self._stopping.set()
        self._noticed.set()
        self._worker.join()

    def notice(self, path: Path) -> None:
        """A new image is on disk."""
        self._noticed.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._noticed.clear()
            unanswered = [path for path in self._neighbour.data.glob("*/[0-9]*.dcm") if not _answer_of(path).exists()]
            if unanswered and self._stopping.wait(THINKING):
                return
            taken = [self._answer(path) for path in unanswered if not self._stopping.is_set()]
            if all(taken):
                self._noticed.wait()
            else:
                self._stopping.wait(RETRY)

    def _answer(self, path: Path) -> bool:
        image = dcmread(path, stop_before_pixels=True)
        # Its own results, and objects without pixels, are nothing to measure: no answer, so no endless round.
        foreign = image.get("Manufacturer") != MANUFACTURER and "Rows" in image
        results = measure(image) if foreign else []
        if results:
            try:
                store(results, calling_aet=self._neighbour.aet, orthanc=self._orthanc)
            except NotTaken as error:
                say(self._neighbour, f"keeps its results for {image.SOPInstanceUID}: {error}")
                return False
        note = [{"sop_uid": result.SOPInstanceUID, "description": result.SeriesDescription} for result in results]
        write_durably(_answer_of(path), json.dumps(note, indent=1).encode())
        say(self._neighbour, f"answered {image.SOPInstanceUID} with {len(results)} results")
        return True


def _answer_of(path: Path) -> Path:
    return path.with_suffix(".answered")


def measure(image: Dataset) -> list[Dataset]:
    """Three results in three new series of the image's study: a picture, a table, a structured report."""
    study = Study.continuing(image, seed=image.SOPInstanceUID)
    study.add_series("SC", sizes=[(192, 96)], description=PICTURE, manufacturer=MANUFACTURER)
    study.add_series("SC", sizes=[(96, 160)], description=TABLE, manufacturer=MANUFACTURER)
    study.add_series("SR", description=REPORT, manufacturer=MANUFACTURER)
    return study.datasets
