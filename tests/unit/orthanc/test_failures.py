"""What Orthanc's and DCMTK's sentences mean."""

from __future__ import annotations

import pytest

from pacsops.delivery.model import ErrorClass
from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc.failures import FailureKind, classify, failure_of


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (9, 'DicomAssociation - connecting to AET "D": TCP Initialization Error: Connection refused', "refused"),
        (9, "Attempt to connect to unknown host: pacs.invalid", "unreachable"),
        (9, 'DicomAssociation - connecting to AET "D": TCP Initialization Error: No route to host', "unreachable"),
        (9, "TCP Initialization Error: Network is unreachable", "unreachable"),
        (9, "TCP Initialization Error: Connection timed out", "unreachable"),
        (9, "TCP Initialization Error: Operation now in progress", "unreachable"),
        (9, 'DicomAssociation - connecting to AET "D": DUL network read timeout', "timeout"),
        (9, "DIMSE No data available (timeout in non-blocking mode)", "timeout"),
        (9, 'DicomAssociation - connecting to AET "D": DUL Association Rejected', "rejected-association"),
        (9, 'DicomAssociation - connecting to AET "D": TLS error: certificate verify failed', "tls"),
        (6, "DICOM TLS - No path to the private key of the local certificate was provided", "tls"),
        (9, "Peer aborted Association (or never connected)", "aborted"),
        (9, "DUL network closed", "aborted"),
        (9, "DUL Peer Requested Release", "aborted"),
        (9, "TCP I/O error: Connection reset by peer", "aborted"),
        (9, 'C-STORE SCU to AET "D" has failed with DIMSE status 0xA700', "out-of-resources"),
        (9, 'C-STORE SCU to AET "D" has failed with DIMSE status 0xA7FF', "out-of-resources"),
        (9, 'C-STORE SCU to AET "D" has failed with DIMSE status 0xA900', "peer-status"),
        (9, 'C-STORE SCU to AET "D" has failed with DIMSE status 0x0122', "peer-status"),
        (2, "Cannot transcode from 1.2.840.10008.1.2.4.70 to one of [ ]", "no-presentation-context"),
        (9, "DIMSE No valid Presentation Context ID", "no-presentation-context"),
        (2015, "", "no-presentation-context"),
        (7, "No modality with symbolic name: MODLINK", "unknown-destination"),
        (17, "", "vanished"),
        (-1, "Internal error", "vanished"),
        (37, "", "orthanc"),
        (11, "Error with the database engine", "orthanc"),
        (None, "", "orthanc"),
    ],
)
def test_each_sentence_has_its_kind(code: int | None, details: str, kind: FailureKind) -> None:
    assert classify(code, details).kind == kind


def test_every_kind_is_one_a_delivery_can_fail_with() -> None:
    assert set(FailureKind.__args__) < {kind.value for kind in ErrorClass}  # type: ignore[attr-defined]


def test_a_full_disk_is_named_with_its_status() -> None:
    failure = classify(9, 'C-STORE SCU to AET "D" has failed with DIMSE status 0xA700')

    assert failure.dimse_status == 0xA700
    assert failure.message == "out of resources (0xA700): the destination's disk is probably full"


def test_a_peers_own_words_do_not_outweigh_its_status() -> None:
    """An AE title may be called TIMEOUT."""
    failure = classify(9, 'C-STORE SCU to AET "TIMED OUT" has failed with DIMSE status 0xC123')

    assert (failure.kind, failure.dimse_status) == ("peer-status", 0xC123)


def test_the_message_says_how_long_was_waited() -> None:
    assert classify(9, "DUL network read timeout", timeout=30).message == "no answer within 30 s"


def test_braces_in_a_host_name_stay_as_they_are() -> None:
    assert classify(9, "Attempt to connect to unknown host: {0}{x}").message == "host name {0}{x} is unknown"


def test_an_unknown_error_keeps_orthancs_words() -> None:
    assert (
        classify(11, "Error with the database engine").message == "Orthanc error 11: Error with the database engine"
    )


@pytest.mark.parametrize(
    ("details", "kind"),
    [("No modality with symbolic name: X", "unknown-destination"), ("Unknown resource", "vanished")],
)
def test_a_404_tells_a_missing_modality_from_a_missing_image(details: str, kind: FailureKind) -> None:
    assert failure_of(NotFoundInOrthanc("404", status=404, details=details)).kind == kind
