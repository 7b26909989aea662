"""Names in the spool: nothing but two UIDs ever becomes a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.gateway.spool import file_name, files, instance_path, is_uid


@given(st.text(alphabet="0123456789./\\~\0 -", max_size=70))
def test_a_uid_is_a_harmless_name(value: str) -> None:
    if is_uid(value):
        assert 1 <= len(value) <= 64
        assert all(part.isdecimal() and part.isascii() for part in value.split("."))


@pytest.mark.parametrize("value", ["", ".", "..", ".1", "1.", "1..2", "1/2", "1\n", "1" * 65, "١.2", "1.2.a"])
def test_what_is_no_uid_is_no_name(value: str) -> None:
    assert not is_uid(value)


@given(st.integers(1, 120))
def test_names_lead_to_their_files(number: int) -> None:
    name = file_name("1.2", "1.2.3", number)
    assert instance_path(Path("/spool"), name) == Path("/spool") / name


@pytest.mark.parametrize(
    "file", ["../1.2/3.dcm", "1.2/../3.dcm", "/1.2/3.dcm", "1.2/3.dcm\n", "1.2/3~1.dcm", "1.2/3"]
)
def test_no_other_name_leads_anywhere(file: str) -> None:
    with pytest.raises(ValueError, match="no file of a spool"):
        instance_path(Path("/spool"), file)


def test_files_are_those_that_are_complete(tmp_path: Path) -> None:
    for name in ("1.2/1.dcm", "1.2/1~2.dcm", "1.2/notes.txt", "1.3/2.dcm", ".receiving/7-1.part", "lost+found/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "1.4").write_bytes(b"no folder")
    os.utime(tmp_path / "1.3" / "2.dcm", (1000, 1000))
    os.utime(tmp_path / "1.3", (2000, 2000))

    found = {one.file: one for one in files(tmp_path)}

    assert set(found) == {"1.2/1.dcm", "1.2/1~2.dcm", "1.3/2.dcm"}
    assert found["1.3/2.dcm"].size == 5
    assert found["1.3/2.dcm"].received_at.timestamp() == 1000
    assert {one.file for one in files(tmp_path, changed_since=3000)} == {"1.2/1.dcm", "1.2/1~2.dcm"}
    assert {one.file for one in files(tmp_path, changed_since=2000)} == set(found)
