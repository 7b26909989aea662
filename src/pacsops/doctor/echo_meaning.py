"""What it means when a destination does not answer C-ECHO, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pacsops.orthanc import Echo, Modality

_ADVICE: Mapping[str, tuple[str, str]] = {
    "refused": (
        "the host is there, but nothing listens on port {port}",
        "check the port, and with its administrator that the DICOM service runs",
    ),
    "unreachable": (
        "no way leads to {host}",
        "check the host name or address, the network path, VPN and firewalls",
    ),
    "timeout": (
        "{host} takes the connection or drops it silently, but no DICOM answer comes",
        "a firewall may drop the packets, the system may hang, or the port belongs to another service",
    ),
    "rejected-association": (
        "a DICOM system answers and rejects us",
        "its administrator must register our AE title {local_aet} with this host's address, and confirm that its own"
        " AE title is {aet} (upper and lower case count)",
    ),
    "tls": (
        "no TLS connection came about",
        "with its administrator: it must speak TLS on port {port}, believe our certificate, and show one in force"
        " of an authority that certificates_trusted names",
    ),
    "aborted": (
        "a DICOM system answers and hangs up",
        "it often does so when it does not know our AE title {local_aet}: ask its administrator for its log",
    ),
    "no-presentation-context": (
        "it does not offer Verification (C-ECHO)",
        "it may still accept images: ask its administrator, or add it with --no-test",
    ),
    "out-of-resources": ("it has no room left", "tell its administrator"),
    "peer-status": ("it answers with an error of its own", "tell its administrator the status above"),
    "unknown-destination": ("Orthanc does not know it", "`orthanc destinations` lists those it knows"),
}
_NO_CERTIFICATE = (
    "Orthanc has no certificate of its own to speak TLS with",
    "say `use_dicom_tls: true` at a peer of orthanc_modalities and deploy: that gives Orthanc one",
)
_UNKNOWN = ("Orthanc could not ask it", "Orthanc's log says more")


def meaning(echo: Echo, modality: Modality, local_aet: str) -> tuple[str, str] | None:
    """What a failure means and what to do; None when it answered."""
    if echo.failure is None:
        return None
    values = {
        "host": modality.host,
        "port": modality.port,
        "aet": modality.aet,
        "local_aet": modality.local_aet or local_aet,
    }
    means, then = _ADVICE.get(echo.failure.kind, _UNKNOWN)
    if modality.use_dicom_tls and "local certificate" in echo.failure.message:
        means, then = _NO_CERTIFICATE
    elif modality.use_dicom_tls and echo.failure.kind == "aborted":
        means, then = _ADVICE["tls"]
    return means.format(**values), then.format(**values)


def evidence_of(modality: Modality, answered: Echo) -> dict[str, Any]:
    """Whom an echo asked, and what came of it, for a finding."""
    failure = answered.failure
    return {
        "aet": modality.aet,
        "host": modality.host,
        "port": modality.port,
        "milliseconds": answered.milliseconds,
        "error_class": failure.kind if failure else None,
        "error": failure.message if failure else None,
    }
