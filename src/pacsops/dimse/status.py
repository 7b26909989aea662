"""DIMSE status codes: what answers mean.

Source: PS3.7 annex C, PS3.4 B.2.3 (C-STORE), PS3.4 C.4.1.1.4 (C-FIND)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Category = Literal["success", "pending", "cancelled", "warning", "out of resources", "failure"]

SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
PENDING_OPTIONAL_KEYS: Final = 0xFF01
"""Pending, and some optional keys of the query are not supported (C-FIND)."""
CANCELLED: Final = 0xFE00
PROCESSING_FAILURE: Final = 0x0110
INVALID_SOP_INSTANCE: Final = 0x0117
DUPLICATE_INVOCATION: Final = 0x0210
UNRECOGNIZED_OPERATION: Final = 0x0211
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_MISMATCH: Final = 0xA900
"""The data set or identifier does not match the SOP class."""
CANNOT_UNDERSTAND: Final = 0xC000

_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
_WORDS = {
    SUCCESS: "success",
    CANCELLED: "cancelled",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    PROCESSING_FAILURE: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    INVALID_SOP_INSTANCE: "invalid SOP instance UID",
    0x0118: "no such SOP class",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    0x0124: "not authorized",
    DUPLICATE_INVOCATION: "duplicate invocation",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class (warning)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a response, and what its sender says about it (at most 64 characters, PS3.7 C.3)."""

    status: int = SUCCESS
    comment: str = ""

    @property
    def category(self) -> Category:
        return category(self.status)

    def __str__(self) -> str:
        return f"0x{self.status:04X} {describe(self.status)}" + (f": {self.comment}" if self.comment else "")


def category(status: int) -> Category:
    """What a status means for the operation. Codes of no known meaning are failures."""
    if status == SUCCESS:
        return "success"
    if status in (PENDING, PENDING_OPTIONAL_KEYS):
        return "pending"
    if status == CANCELLED:
        return "cancelled"
    if status in _WARNINGS or status >> 12 == 0xB:
        return "warning"
    if status >> 8 == 0xA7 or status == 0x0213:
        return "out of resources"
    return "failure"


def describe(status: int) -> str:
    """The status in words."""
    if status in _WORDS:
        return _WORDS[status]
    match status >> 8:
        case 0xA7:
            return "out of resources"
        case 0xA9:
            return "data set does not match SOP class"
    return {0xB: "warning", 0xC: "cannot understand"}.get(status >> 12, category(status))
