"""Why a send or an echo failed, read out of the words Orthanc and DCMTK report it in.

Orthanc passes a destination's failure on as an error code (mostly 9, "Error in the network protocol") and DCMTK's
sentence; only the sentence tells a full disk from a wrong AE title. The sentences are those of Orthanc 1.10 to 1.12
(DicomAssociation.cpp, DicomControlUserConnection.cpp, DicomStoreUserConnection.cpp, DCMTK's dul and dimse messages).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pacsops.errors import OrthancRefused

FailureKind = Literal[
    "refused",
    "unreachable",
    "timeout",
    "rejected-association",
    "tls",
    "aborted",
    "out-of-resources",
    "no-presentation-context",
    "peer-status",
    "unknown-destination",
    "vanished",
    "orthanc",
    "orthanc-away",
]

INTERNAL_ERROR = -1
UNKNOWN_RESOURCE = 17
CANCELED_JOB = 37
NO_PRESENTATION_CONTEXT = 2015


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why it failed: a kind to decide by, a message to read, the peer's DIMSE status if it answered one."""

    kind: FailureKind
    message: str
    dimse_status: int | None = None
    sop_class: str | None = None
    transfer_syntax: str | None = None
    """UIDs of the image it failed at, where Orthanc names them."""


def classify(error_code: int | None, details: str, *, timeout: float | None = None) -> JobFailure:
    """The failure behind Orthanc's error code and details. Total: what is not known is of kind `orthanc`.

    Args:
        error_code: ErrorCode of a job or OrthancStatus of an answer; None when there is none.
        details: ErrorDetails, or Details of an answer.
        timeout: seconds Orthanc was told to wait, for the message.
    """
    status = _DIMSE_STATUS.search(details)
    if status is not None:
        return _peer_status(int(status[1], 16))
    sop_class, syntax = _named(_SOP_CLASS, details), _named(_SYNTAX, details)
    for pattern, kind, message in _SENTENCES:
        match = pattern.search(details)
        if match is not None:
            within = f" within {timeout:g} s" if timeout else " in time"
            words = message.format(*match.groups(), within=within)
            return JobFailure(kind, words, sop_class=sop_class, transfer_syntax=syntax)
    if error_code == NO_PRESENTATION_CONTEXT:
        return JobFailure("no-presentation-context", _NO_CONTEXT, sop_class=sop_class, transfer_syntax=syntax)
    if error_code in {INTERNAL_ERROR, UNKNOWN_RESOURCE}:
        return JobFailure("vanished", "an instance is no longer in Orthanc")
    if error_code == CANCELED_JOB:
        return JobFailure("orthanc", "the job was cancelled in Orthanc")
    number = "" if error_code is None else f" {error_code}"
    return JobFailure("orthanc", f"Orthanc error{number}: {details or 'no details'}")


def failure_of(error: OrthancRefused, *, timeout: float | None = None) -> JobFailure:
    """The failure behind a request that Orthanc refused, such as a send to a modality it does not have."""
    code = UNKNOWN_RESOURCE if "unknown resource" in error.details.lower() else None
    return classify(code, error.details or str(error), timeout=timeout)


_NO_CONTEXT = "no presentation context accepted: the destination does not take this kind of object or its encoding"

_DIMSE_STATUS = re.compile(r"DIMSE status 0x([0-9a-f]{4})", re.IGNORECASE)


_SOP_CLASS = re.compile(r"SOP class UID \[([0-9.]{1,64})\]")
_SYNTAX = re.compile(r"(?:transcode from |transfer syntax \[)([0-9.]{1,64})")


def _named(pattern: re.Pattern[str], details: str) -> str | None:
    found = pattern.search(details)
    return None if found is None else found[1]


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SENTENCES: tuple[tuple[re.Pattern[str], FailureKind, str], ...] = (
    (_words(r"TLS error: ?([^(\n]*[^(\s])"), "tls", "no TLS with the destination: {0}"),
    (_words(r"DICOM TLS - ?(.*)"), "tls", "Orthanc is not set up for TLS: {0}"),
    (_words(r"database is currently not available"), "orthanc-away", "Orthanc's database is not available"),
    (_words(r"connection refused"), "refused", "connection refused: nothing listens on the destination's port"),
    (_words(r"unknown host:? ?(\S*)"), "unreachable", "host name {0} is unknown"),
    (_words(r"no route to host|host is (?:down|unreachable)"), "unreachable", "no route to the host"),
    (_words(r"network is unreachable"), "unreachable", "the network is unreachable"),
    (
        _words(r"TCP Initialization Error.*(?:timed? ?out|in progress)"),
        "unreachable",
        "the host does not answer{within}",
    ),
    (
        _words(r"association rejected"),
        "rejected-association",
        "association rejected (the destination does not accept our AE title, or its own is another)",
    ),
    (_words(r"cannot transcode|presentation context"), "no-presentation-context", _NO_CONTEXT),
    (_words(r"no data available|read timeout|timed? ?out"), "timeout", "no answer{within}"),
    (
        _words(r"peer aborted|aborted association|association aborted"),
        "aborted",
        "the destination aborted the association, or closed the connection",
    ),
    (
        _words(r"connection reset|broken pipe|network closed|TCP I/O error|requested release"),
        "aborted",
        "the destination closed the connection",
    ),
    (_words(r"no modality with symbolic name:? ?(\S*)"), "unknown-destination", "Orthanc has no modality {0}"),
)

_MEANINGS = (
    # PS3.4 B.2.3 (C-STORE), PS3.7 annex C (any service)
    (0xFF00, 0xA700, "out of resources", ": the destination's disk is probably full"),
    (0xFF00, 0xA900, "data set does not match its SOP class", ""),
    (0xF000, 0xC000, "the destination cannot understand the data set", ""),
    (0xFFFF, 0x0110, "processing failure", ""),
    (0xFFFF, 0x0111, "the destination calls it a duplicate", ""),
    (0xFFFF, 0x0117, "invalid SOP instance", ""),
    (0xFFFF, 0x0122, "SOP class not supported", ""),
    (0xFFFF, 0x0124, "not authorised", ""),
    (0xFFFF, 0x0213, "resource limitation", ""),
)


def _peer_status(status: int) -> JobFailure:
    kind: FailureKind = "out-of-resources" if status & 0xFF00 == 0xA700 else "peer-status"
    for mask, value, words, guess in _MEANINGS:
        if status & mask == value:
            return JobFailure(kind, f"{words} (0x{status:04X}){guess}", status)
    return JobFailure(kind, f"the destination answered status 0x{status:04X}", status)
