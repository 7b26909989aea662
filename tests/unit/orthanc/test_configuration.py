"""Orthanc's own configuration files, as hospitals have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.errors import ConfigurationUnreadable
from pacsops.orthanc import Modality
from pacsops.orthanc.configuration import modalities_of, read_modalities

SAMPLE = r"""
/**
 * Configuration of "Orthanc" // with all it may have
 */
{
  "Name" : "http://pacs // not a comment /* neither */ \" , }",
  // The peers
  "DicomModalities" : {
    /* an old one */
    "sample" : [ "STORESCP", "localhost", 2000 ],
    "clearcanvas" : [ "CLEARCANVAS", "192.168.1.1", 104, "ClearCanvas" ],  // in four parts
    "secured" : {
      "AET" : "SECURED",
      "Host" : "pacs.example.org",
      "Port" : 2762,
      "UseDicomTls" : true,
      "AllowStore" : false,
      "AllowMove" : false,
      "LocalAet" : "HERE",
      "Timeout" : 30,
    },
  },
  "Plugins" : [ ],
}
"""


def test_comments_both_forms_and_trailing_commas_are_read() -> None:
    clearcanvas, sample, secured = modalities_of(SAMPLE, "orthanc.json")

    assert (sample.aet, sample.host, sample.port, sample.manufacturer) == ("STORESCP", "localhost", 2000, "Generic")
    assert clearcanvas.manufacturer == "ClearCanvas"
    assert (secured.use_dicom_tls, secured.local_aet, secured.timeout) == (True, "HERE", 30)


def test_rights_are_those_orthanc_gives_them_there() -> None:
    _, sample, secured = modalities_of(SAMPLE, "orthanc.json")

    assert all((sample.allow_store, sample.allow_find, sample.allow_move, sample.allow_get))
    assert (secured.allow_store, secured.allow_move, secured.allow_find) == (False, False, True)


def test_a_mistake_is_named_by_its_line_whatever_comments_are_before_it() -> None:
    with pytest.raises(ConfigurationUnreadable, match=r"orthanc\.json, line 4: "):
        modalities_of('/* one\n two */\n{"DicomModalities": {\n"a" ["X", "h", 1]}}', "orthanc.json")


def test_every_entry_that_orthanc_would_not_take_is_named() -> None:
    text = """{"DicomModalities": {
        "GOOD": ["PACS", "10.0.0.1", 104],
        "TWO WORDS": ["PACS", "10.0.0.1", 104],
        "LONG": ["SEVENTEEN_LETTERS", "10.0.0.1", 104],
        "PORT": ["PACS", "10.0.0.1", 70000],
        "SHORT": ["PACS", "10.0.0.1"],
        "ENV": ["PACS", "${PACS_HOST}", 104],
        "HOSTLESS": {"AET": "PACS", "Port": 104}
    }}"""
    with pytest.raises(ConfigurationUnreadable) as refused:
        modalities_of(text, "orthanc.json")

    message = str(refused.value)
    assert "6 of 7" in message
    for words in ("TWO WORDS", "SEVENTEEN_LETTERS", "70000", "SHORT", "${PACS_HOST}", "lacks Host"):
        assert words in message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"DicomModalities": []}', "x" * 10, "\x00\x01"])
def test_what_is_no_configuration_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "orthanc.json"
    file.write_text(text)

    with pytest.raises(ConfigurationUnreadable):
        read_modalities(file)
    with pytest.raises(ConfigurationUnreadable, match="No such file"):
        read_modalities(tmp_path / "absent.json")


@given(st.text())
def test_no_text_is_a_defect(text: str) -> None:
    try:
        found = modalities_of(text, "any")
    except ConfigurationUnreadable:
        return
    assert all(isinstance(modality, Modality) for modality in found)
