"""Single elements out of the first bytes of a data set, without decoding the rest of it.

Reading goes from one element to the next, steps over sequences, and ends where nothing wanted can come any more.
Whatever the bytes are, it takes time and memory in proportion to their number, and raises one error only.

Source: PS3.5 6.2 (value representations), 7 (elements), annex A (transfer syntaxes)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from pacsops.dicom import text
from pacsops.dicom.elements import UNDEFINED, CutShort, Elements
from pacsops.dicom.errors import UnreadableDataSet

DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
LONGEST_VALUE: Final = 64 << 10
"""Bytes of a value that are read, at most."""
LONGEST_INFLATED: Final = 16 << 20
"""Bytes that are inflated of a deflated data set, at most."""

_ROUTED: Final = """
    SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate SeriesDate AcquisitionDate StudyTime
    SeriesTime AccessionNumber Modality Manufacturer InstitutionName ReferringPhysicianName StationName
    StudyDescription SeriesDescription InstitutionalDepartmentName ManufacturerModelName
    PatientName PatientID PatientBirthDate PatientSex
    BodyPartExamined ProtocolName
    StudyInstanceUID SeriesInstanceUID StudyID SeriesNumber InstanceNumber
    NumberOfFrames Rows Columns
"""
ROUTED_TAGS: Final = frozenset(tag for keyword in _ROUTED.split() if (tag := tag_for_keyword(keyword)) is not None)
"""What routes look at most, and what names a study, its series and its instances."""

_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_IN_CHARACTER_SET: Final = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_NO_COMPONENTS: Final = frozenset({"ST", "LT", "UT", "UR"})
_NO_TEXT: Final = frozenset({"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN"})


class Header(dict[str, str]):
    """DICOM keyword → value of the wanted elements that are there, empty ones included.

    Components are joined by backslashes, decoded by the data set's character set, without padding and without NUL.
    Of an element that stands there twice the first holds, as for DCMTK.
    """

    __slots__ = ("cut_short",)

    def __init__(self, values: Mapping[str, str], *, cut_short: bool) -> None:
        super().__init__(values)
        self.cut_short = cut_short
        """The bytes ended before everything wanted was passed: with more of them there could be more."""


def read_header(data: bytes | memoryview, transfer_syntax_uid: str, wanted: Collection[int] = ROUTED_TAGS) -> Header:
    """The wanted elements of the main data set, out of its first bytes.

    Reading ends at the first tag beyond those wanted, at pixel data, or where the bytes end.

    Args:
        data: begins where the data set begins, behind the file meta information.
        wanted: tags as 0xGGGGEEEE. Private ones, and what is neither text nor numbers, are not read.

    Raises:
        UnreadableDataSet: sequences that are none, or too deep; what cannot be inflated.
    """
    plan = _plan(frozenset(wanted))
    if transfer_syntax_uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        with memoryview(data) as view:  # let go of by an error, too, that is kept
            return _read(view, transfer_syntax_uid, plan)
    header = Header({}, cut_short=True)
    for inflated in _inflated(data):
        header = _read(memoryview(inflated), transfer_syntax_uid, plan)
        if not header.cut_short:
            break
    return header


class _Plan(NamedTuple):
    """What is wanted, looked up once."""

    last: int
    keywords: Mapping[int, str]
    kept: frozenset[int]


@lru_cache(maxsize=64)
def _plan(wanted: frozenset[int]) -> _Plan:
    keywords = {tag: keyword for tag in wanted if (keyword := keyword_for_tag(tag))}
    return _Plan(max(keywords, default=0), keywords, frozenset(keywords) | {_CHARACTER_SET, _PIXEL_REPRESENTATION})


def _read(data: memoryview, transfer_syntax_uid: str, plan: _Plan) -> Header:
    elements = Elements(data, transfer_syntax_uid)
    explicit = elements.explicit
    found: dict[int, tuple[bytes, bytes]] = {}
    cut_short = False
    at = 0
    try:
        while True:
            tag, representation, length, value = elements.head(at, explicit)
            if tag > plan.last or tag in _PIXELS:
                break
            if length == UNDEFINED:
                at = elements.behind_sequence(value, explicit and representation != b"UN")
                continue
            at = value + length
            if tag in plan.kept and tag not in found:
                found[tag] = representation, elements.value(value, min(length, LONGEST_VALUE))
    except CutShort:
        cut_short = True
    codecs = text.encodings(found[_CHARACTER_SET][1] if _CHARACTER_SET in found else b"")
    signed = _PIXEL_REPRESENTATION in found and any(found[_PIXEL_REPRESENTATION][1])
    values: dict[str, str] = {}
    for tag, (said, content) in found.items():
        representation_of_it = _representation(tag, said, signed)
        if tag in plan.keywords and representation_of_it not in _NO_TEXT:
            values[plan.keywords[tag]] = _words(content, representation_of_it, codecs, elements.order)
    return Header(values, cut_short=cut_short)


def _representation(tag: int, said: bytes, signed: bool) -> str:
    """What the element says, or the dictionary where it says nothing."""
    if said and said != b"UN":
        return said.decode("latin-1")
    known = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    if known == "US or SS":
        return "SS" if signed else "US"
    return "UN" if " " in known else known


def _words(value: bytes, representation: str, codecs: text.Encodings, order: str) -> str:
    if representation in _NUMBERS:
        number = struct.Struct(order + _NUMBERS[representation])
        return "\\".join(str(one) for (one,) in number.iter_unpack(_whole(value, number.size)))
    if representation == "AT":
        pair = struct.Struct(f"{order}HH")
        return "\\".join(f"{group:04X}{element:04X}" for group, element in pair.iter_unpack(_whole(value, pair.size)))
    # Without a character set of their own the others are ASCII; what is not may well be Latin-1.
    characters = text.decoded(value, codecs) if representation in _IN_CHARACTER_SET else value.decode("latin-1")
    characters = characters.replace("\0", "")
    if representation in _NO_COMPONENTS or "\\" not in characters:
        return characters.strip()
    return "\\".join(component.strip() for component in characters.split("\\"))


def _whole(value: bytes, size: int) -> bytes:
    return value[: len(value) // size * size]


def _inflated(data: bytes | memoryview) -> Iterator[bytes]:
    """More and more of the data set, as far as it goes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    rest = bytes(data[:LONGEST_INFLATED])
    size = 64 << 10
    try:
        while rest and not inflater.eof and len(inflated) < LONGEST_INFLATED:
            inflated += inflater.decompress(rest, size)
            rest = inflater.unconsumed_tail
            if not rest:
                inflated += inflater.flush()
            size = 3 * len(inflated)
            yield bytes(inflated)
    except zlib.error as error:
        raise UnreadableDataSet("a deflated data set cannot be inflated") from error
