"""Where data sets begin in files, and what is written before them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse.errors import UnreadableFile
from pacsops.dimse.part10 import Instance, StoredInstance, file_meta

INSTANCE = Instance("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", "1.2.840.10008.1.2.1")
DATA_SET = b"\x08\0\x05\0CS\x0a\0ISO_IR 192"


def a_file() -> bytes:
    study = Study(seed=1)
    study.add_series("CT", sizes=[(16, 16)])
    return part10(study.datasets[0])


def data_set_of(stored: StoredInstance) -> bytes:
    content = bytearray(stored.length)
    assert stored.read_into([memoryview(content)], stored.offset) == stored.length
    return bytes(content)


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_data_set_of_a_file_begins_behind_its_meta_information(tmp_path: Path, on_disk: bool) -> None:
    content = a_file()
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    dataset = dcmread(path)

    with StoredInstance(path if on_disk else content) as stored:
        assert stored.instance == Instance(
            str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(dataset.file_meta.TransferSyntaxUID)
        )
        assert stored.offset == 132 + 12 + dataset.file_meta.FileMetaInformationGroupLength
        assert data_set_of(stored) == content[stored.offset :]


def test_what_is_written_is_read_by_pydicom() -> None:
    dataset = dcmread(BytesIO(file_meta(INSTANCE, "SCANNER") + DATA_SET))

    meta = dataset.file_meta
    assert str(meta.MediaStorageSOPInstanceUID) == INSTANCE.sop_instance_uid
    assert str(meta.TransferSyntaxUID) == INSTANCE.transfer_syntax_uid
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"


def test_a_data_set_kept_is_sent_as_it_came() -> None:
    with StoredInstance(file_meta(INSTANCE, "ODD") + DATA_SET) as stored:
        assert (stored.instance, data_set_of(stored)) == (INSTANCE, DATA_SET)


def test_meta_information_with_private_information_of_many_pages_is_read() -> None:
    meta = file_meta(INSTANCE)
    private = b"\2\0\2\1OB\0\0" + (100_000).to_bytes(4, "little") + bytes(100_000)

    with StoredInstance(meta + private + DATA_SET) as stored:
        assert data_set_of(stored) == DATA_SET


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "DICM is missing"),
        (b"PK\3\4" + bytes(300), "DICM is missing"),
        (bytes(128) + b"DICM", r"lacks \(0002,0002\)"),
        (file_meta(INSTANCE)[:-3], "has no end"),
        (bytes(128) + b"DICM\2\0\1\0OB\0\0\xff\xff\xff\xff" + bytes(9000), "has no end"),
    ],
)
def test_what_is_no_dicom_file(content: bytes, problem: str) -> None:
    with pytest.raises(UnreadableFile, match=problem):
        StoredInstance(content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        StoredInstance(tmp_path / "gone.dcm")


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
)
def test_damaged_files_are_refused_or_read(damage: list[tuple[int, int]], length: int) -> None:
    content = bytearray(file_meta(INSTANCE) + DATA_SET)
    for position, value in damage:
        content[128 + position % (len(content) - 128)] = value
    for one in (bytes(content), bytes(content[: 128 + length])):
        try:
            StoredInstance(one).close()
        except UnreadableFile:
            continue
