"""Synthetic studies are valid, consistent and reproducible."""

from __future__ import annotations

import subprocess
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsops.dicom.synthetic import SOP_CLASSES, Study, part10


def a_seeded_study() -> Study:
    study = Study(seed="a seed", study_date=date(2024, 5, 6))
    for kind in SOP_CLASSES:
        study.add_series(kind, instances=2)
    return study


def test_equal_seeds_give_equal_bytes() -> None:
    first, second = a_seeded_study(), a_seeded_study()

    assert [part10(dataset) for dataset in first.datasets] == [part10(dataset) for dataset in second.datasets]


def test_studies_without_a_seed_never_meet() -> None:
    assert Study().study_uid != Study().study_uid


def test_one_study_has_one_study_uid_and_otherwise_unique_uids() -> None:
    study = a_seeded_study()

    assert {dataset.StudyInstanceUID for dataset in study.datasets} == {study.study_uid}
    assert len({dataset.SeriesInstanceUID for dataset in study.datasets}) == len(SOP_CLASSES)
    assert len({dataset.SOPInstanceUID for dataset in study.datasets}) == 2 * len(SOP_CLASSES)


def test_changing_one_image_leaves_the_others_alone() -> None:
    study = Study(study_description="BEFORE")
    series = study.add_series("CR", instances=2)

    series.datasets[0].StudyDescription = "AFTER"

    assert series.datasets[1].StudyDescription == "BEFORE"
    assert series.add_instance().StudyDescription == "BEFORE"


def test_an_image_has_the_pixels_of_its_size() -> None:
    study = Study()
    [small, large] = study.add_series("CR", sizes=[(10, 20), (300, 7)]).datasets

    assert (small.Rows, small.Columns, len(small.PixelData)) == (10, 20, 10 * 20 * 2)
    assert (large.Rows, large.Columns, len(large.PixelData)) == (300, 7, 300 * 7 * 2)
    words = memoryview(large.PixelData).cast("H")
    assert max(words) <= 0x0FFF


def test_results_continue_the_study_they_were_made_from() -> None:
    original = Study(patient_name="DOE^JANE", accession_number="A77")
    [image] = original.add_series("CR").datasets

    results = Study.continuing(image)
    [report] = results.add_series("SR", manufacturer="STANFORDAIDE").datasets

    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate"):
        assert report[keyword].value == image[keyword].value
    assert report.SeriesInstanceUID != image.SeriesInstanceUID
    assert (report.Modality, report.Manufacturer) == ("SR", "STANFORDAIDE")


@pytest.mark.parametrize("kind", SOP_CLASSES)
def test_a_file_reads_back_as_what_it_was(kind: str) -> None:
    study = Study()
    [dataset] = study.add_series(kind, description="a series", attributes={"StationName": "ROOM1"}).datasets

    read = dcmread(BytesIO(part10(dataset)))

    assert read == dataset
    assert read.file_meta.MediaStorageSOPClassUID == SOP_CLASSES[kind]
    assert read.StationName == "ROOM1"


def test_dcmtk_accepts_the_report(tmp_path: Path) -> None:
    study = Study()
    [report] = study.add_series("SR").datasets
    (tmp_path / "report.dcm").write_bytes(part10(report))

    shown = subprocess.run(
        ["/usr/bin/dsrdump", "report.dcm"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    assert "Basic Text SR Document" in shown
    assert '"A synthetic finding."' in shown
