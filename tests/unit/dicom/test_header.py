"""Single elements out of the beginnings of data sets, however they are encoded, and whatever they are."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import IS, DSdecimal, DSfloat, PersonName

from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import LONGEST_INFLATED, ROUTED_TAGS, Header, read_header
from pacsops.dicom.synthetic import Study
from pacsops.dimse.errors import UnreadableFile
from pacsops.dimse.part10 import StoredInstance
from pacsops.routes.fields import COMMON, field_named

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
SYNTAXES = [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]
WHERE = Path(pydicom.data.__file__).parent
FILES = sorted(path for path in WHERE.rglob("*") if path.suffix == ".dcm" and path.is_file())
DAMAGE = [b"\xff" * 4, b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0", b"SQ\0\0", b"\x1b"]
TEXT_TAGS = sorted(
    tag
    for tag in ROUTED_TAGS | {0x00080301, 0x00081030, 0x00180050, 0x00180088, 0x00181151, 0x00200032, 0x00200037}
    if keyword_for_tag(tag)
)


def data_set_of(path: Path) -> tuple[bytes, str]:
    """The data set as it stands in the file, and its transfer syntax."""
    content = path.read_bytes()
    with StoredInstance(content) as stored:
        return content[stored.offset :], stored.instance.transfer_syntax_uid


def encoded(dataset: Dataset, transfer_syntax: str) -> bytes:
    syntax = UID(transfer_syntax)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(buffer, dataset)
    content = buffer.getvalue()
    if transfer_syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
    return content


def as_text(value: Any) -> str:
    """pydicom's idea of a value, without padding."""
    if isinstance(value, MultiValue | list):
        return "\\".join(as_text(one) for one in value)
    if isinstance(value, DSfloat | DSdecimal | IS) and hasattr(value, "original_string"):
        return str(value.original_string).strip()
    if isinstance(value, PersonName):
        return str(value).strip()
    return "" if value is None else str(value).replace("\0", "").strip()


def a_study() -> Dataset:
    study = Study(seed=7, patient_name="GARCÍA^JOSÉ", attributes={"InstitutionName": "CLÍNICA"})
    study.add_series("CT", sizes=[(32, 16)], description="THORAX", manufacturer="ACME")
    return study.datasets[0]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_routes_ask_for_is_read_in_every_encoding(syntax: str) -> None:
    dataset = a_study()

    header = read_header(encoded(dataset, syntax), syntax)

    assert header["PatientName"] == "GARCÍA^JOSÉ"
    assert header["InstitutionName"] == "CLÍNICA"
    assert header["StudyInstanceUID"] == dataset.StudyInstanceUID
    assert header["SOPClassUID"] == dataset.SOPClassUID
    assert (header["Rows"], header["Columns"], header["ReferringPhysicianName"]) == ("32", "16", "")
    assert not header.cut_short


def test_every_common_field_of_routes_is_read() -> None:
    keywords = {field_named(name).keyword for name in COMMON} - {None}
    assert keywords <= {keyword_for_tag(tag) for tag in ROUTED_TAGS}


def readable() -> Iterator[Path]:
    for path in FILES:
        try:
            data_set_of(path)
        except UnreadableFile:
            continue  # no file meta information: it could not come over a network either
        yield path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", list(readable()), ids=lambda path: path.name)
def test_it_reads_what_pydicom_reads(path: Path) -> None:
    content, syntax = data_set_of(path)
    oracle = dcmread(path, force=True, stop_before_pixels=True)

    header = read_header(content, syntax, TEXT_TAGS)

    expected = {keyword_for_tag(tag): as_text(oracle[tag].value) for tag in TEXT_TAGS if tag in oracle}
    said = dict(header)
    if "PatientName" in said:
        said["PatientName"] = said["PatientName"].rstrip("=")  # pydicom leaves empty groups out
    assert said == expected


def test_a_shorter_beginning_says_no_more_and_says_so(path: Path = FILES[0]) -> None:
    for syntax in SYNTAXES:
        content = encoded(a_study(), syntax)
        whole = read_header(content, syntax)
        for size in range(0, len(content), 7):
            header = read_header(content[:size], syntax)
            assert header.items() <= whole.items()
            assert header.cut_short or header == whole


def test_only_wanted_elements_are_given_and_reading_ends_behind_the_last() -> None:
    content = encoded(a_study(), EXPLICIT)
    patient_id = tag_for_keyword("PatientID")
    assert patient_id is not None
    end = content.index(b"\x10\0\x20\0LO") + 60

    header = read_header(content[:end], EXPLICIT, [patient_id])

    assert list(header) == ["PatientID"]
    assert not header.cut_short


def test_pixels_are_never_read() -> None:
    pixels = struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", 0xFFFFFFFF)
    assert not read_header(pixels, EXPLICIT, [0x7FE00010, 0xFFFCFFFC]).cut_short


def element(tag: int, value: bytes, representation: bytes = b"", length: int | None = None) -> bytes:
    """Implicit unless a representation is said, whose form is the long one where it has two zero bytes behind."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if len(representation) == 4:
        return head + representation + struct.pack("<L", size) + value
    return head + (representation + struct.pack("<H", size) if representation else struct.pack("<L", size)) + value


def item(content: bytes, *, defined: bool) -> bytes:
    if defined:
        return element(0xFFFEE000, content)
    return element(0xFFFEE000, content, length=0xFFFFFFFF) + element(0xFFFEE00D, b"")


def sequence(content: bytes, *, defined: bool, representation: bytes) -> bytes:
    if defined:
        return element(0x00081140, content, representation)
    return element(0x00081140, content, representation, 0xFFFFFFFF) + element(0xFFFEE0DD, b"")


@pytest.mark.parametrize("representation", [b"", b"SQ\0\0", b"UN\0\0"])
@pytest.mark.parametrize("items_defined", [True, False])
@pytest.mark.parametrize("defined", [True, False])
def test_sequences_are_stepped_over(defined: bool, items_defined: bool, representation: bytes) -> None:
    # Within UN, elements are implicit (PS3.5 6.2.2).
    inner = representation if representation == b"SQ\0\0" else b""
    short = b"UI" if inner else b""
    content = item(element(0x0020000D, b"9.9\0", short), defined=items_defined)
    for _ in range(20):
        content = item(sequence(content, defined=defined, representation=inner), defined=items_defined)
    first = element(0x00080016, b"1.2\0", b"UI" if representation else b"")
    outer = sequence(content * 2, defined=defined, representation=representation)
    last = element(0x0020000D, b"1.3\0", b"UI" if representation else b"")

    header = read_header(first + outer + last, EXPLICIT if representation else IMPLICIT)

    assert header["StudyInstanceUID"] == "1.3"


def test_sequences_too_deep_are_refused() -> None:
    content = b""
    for _ in range(40):
        content = item(sequence(content, defined=False, representation=b""), defined=False)

    with pytest.raises(UnreadableDataSet, match="32 sequences"):
        read_header(sequence(content, defined=False, representation=b""), IMPLICIT)


def test_what_is_no_sequence_is_refused() -> None:
    content = element(0x00081140, element(0x00080060, b"CT"), length=0xFFFFFFFF)
    with pytest.raises(UnreadableDataSet, match=r"\(0008,0060\) stands in a sequence"):
        read_header(content, IMPLICIT)


def test_values_of_unknown_representation_are_known_by_the_dictionary() -> None:
    content = element(0x00080060, b"CT", b"UN\0\0") + element(0x00280010, b"\x10\0", b"UN\0\0")
    assert read_header(content, EXPLICIT) == {"Modality": "CT", "Rows": "16"}


def test_representations_of_the_future_have_the_long_form() -> None:
    content = element(0x00080015, b"1234", b"ZZ\0\0") + element(0x00080060, b"CT", b"CS")
    assert read_header(content, EXPLICIT) == {"Modality": "CT"}


@pytest.mark.parametrize(("said", "meant"), [(IMPLICIT, EXPLICIT), (EXPLICIT, IMPLICIT)])
def test_an_encoding_against_the_transfer_syntax_is_read_as_it_is(said: str, meant: str) -> None:
    assert read_header(encoded(a_study(), meant), said)["Modality"] == "CT"


def test_the_first_of_two_equal_elements_holds() -> None:
    twice = element(0x0020000D, b"1.2\0") + element(0x0020000D, b"1.3\0")
    assert read_header(twice, IMPLICIT) == {"StudyInstanceUID": "1.2"}


def test_numbers_are_read_as_numbers() -> None:
    dataset = Dataset()
    dataset.SimpleFrameList = [1, 70000]
    dataset.PixelRepresentation = 1
    dataset.SmallestImagePixelValue = -5
    dataset.FrameIncrementPointer = [0x00181063, 0x00181065]
    dataset["SmallestImagePixelValue"].VR = "SS"
    dataset.PresentationPixelAspectRatio = [1, 2]
    tags = [tag for tag in map(tag_for_keyword, dataset.dir()) if tag is not None]
    for syntax in SYNTAXES:
        assert read_header(encoded(dataset, syntax), syntax, tags) == {
            "SimpleFrameList": "1\\70000",
            "PixelRepresentation": "1",
            "SmallestImagePixelValue": "-5",
            "FrameIncrementPointer": "00181063\\00181065",
            "PresentationPixelAspectRatio": "1\\2",
        }


def test_nul_never_comes_through() -> None:
    # PostgreSQL's text has no place for it.
    assert read_header(element(0x00100010, b"A\0B\0"), IMPLICIT) == {"PatientName": "AB"}


@pytest.mark.parametrize(
    ("character_set", "value", "expected"),
    [
        (b"ISO_IR 100", b"J\xe9", "Jé"),
        (b"ISO IR 100", b"J\xe9", "Jé"),
        (b"ISO_IR 192", "山田".encode(), "山田"),
        (b"GB18030", "王\\小".encode("gb18030"), "王\\小"),
        (rb"\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
        (rb"ISO 2022 IR 6\ISO 2022 IR 149", b"Hong=\x1b$)C\xfb\xf3^\xd1\xce\xd4\xd7", "Hong=洪^吉洞"),
        (b"NO SUCH", b"J\xe9", "Jé"),
        (b"ISO_IR 192", b"J\xe9", "J�"),
        (b"ISO_IR 6", b"\x1b\xff\x1b", "ÿ"),
    ],
)
def test_text_is_decoded_by_its_character_set(character_set: bytes, value: bytes, expected: str) -> None:
    content = element(0x00080005, character_set) + element(0x00100010, value)
    assert read_header(content, IMPLICIT)["PatientName"] == expected


def test_a_bomb_is_inflated_to_a_limit_only() -> None:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    private = element(0x00090010, b"", b"OB\0\0", length=0x40000000)
    bomb = deflater.compress(private) + deflater.compress(bytes(8 * LONGEST_INFLATED)) + deflater.flush()

    begun = time.process_time()
    header = read_header(bomb, DEFLATED)

    assert (header, header.cut_short) == ({}, True)
    assert time.process_time() - begun < 20  # a hang, not a speed


def test_what_cannot_be_inflated_is_refused() -> None:
    with pytest.raises(UnreadableDataSet, match="inflated"):
        read_header(b"\xff" * 100, DEFLATED)


def harmless(content: bytes, syntax: str) -> None:
    """Whatever comes: a header of text, or the one error."""
    try:
        header = read_header(content, syntax)
    except UnreadableDataSet:
        return
    assert isinstance(header, Header)
    assert all("\0" not in value for value in header.values())
    "".join(header.values()).encode()  # no half surrogate, which no database takes


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from(SYNTAXES))
@example(b"", IMPLICIT)
def test_noise_does_no_harm(content: bytes, syntax: str) -> None:
    harmless(content, syntax)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(SYNTAXES))
def test_damaged_data_sets_do_no_harm(seed: int, syntax: str) -> None:
    damage = random.Random(seed)
    content = bytearray(encoded(a_study(), EXPLICIT if syntax == DEFLATED else syntax))
    for _ in range(damage.randrange(1, 12)):
        at = damage.randrange(min(len(content), 1500))
        match damage.randrange(3):
            case 0:
                content[at] = damage.randrange(256)
            case 1:
                del content[at : at + damage.randrange(9)]
            case _:
                content[at:at] = damage.choice(
                    [b"\xff" * 4, b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0", b"SQ\0\0", b"\x1b"]
                )
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = bytearray(deflater.compress(content) + deflater.flush())
    harmless(bytes(content), syntax)
