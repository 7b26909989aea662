"""What a destination's answer to C-ECHO means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pacsops.cli.destination_state import SLOW_MS
from pacsops.cli.render import Page
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
_UNKNOWN = ("Orthanc could not ask it", "Orthanc's log says more")
_NO_CERTIFICATE = (
    "Orthanc has no certificate of its own to speak TLS with",
    "say `use_dicom_tls: true` at a peer of orthanc_modalities and deploy: that gives Orthanc one",
)
_NO_TLS = (
    "no TLS connection came about",
    "with its administrator: it must speak TLS on port {port}, believe our certificate, and show one of an authority"
    " that certificates_trusted names",
)


def verdict(echo: Echo) -> int:
    """The exit code: 0 answered, 1 answered slowly, 2 not."""
    if not echo.ok:
        return 2
    return 1 if echo.milliseconds > SLOW_MS else 0


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
    elif modality.use_dicom_tls and echo.failure.kind in ("orthanc", "aborted"):
        means, then = _NO_TLS
    return means.format(**values), then.format(**values)


def as_document(echo: Echo, modality: Modality, local_aet: str) -> dict[str, Any]:
    """What --json prints."""
    said = meaning(echo, modality, local_aet)
    return {
        "name": modality.name,
        "aet": modality.aet,
        "host": modality.host,
        "port": modality.port,
        "ok": echo.ok,
        "slow": echo.ok and echo.milliseconds > SLOW_MS,
        "milliseconds": echo.milliseconds,
        "error": echo.failure.message if echo.failure else None,
        "error_class": echo.failure.kind if echo.failure else None,
        "meaning": said[0] if said else None,
        "advice": said[1] if said else None,
        "exit_code": verdict(echo),
    }


def print_echo(page: Page, echo: Echo, modality: Modality, local_aet: str) -> None:
    """The outcome in two or three lines."""
    said = meaning(echo, modality, local_aet)
    if said is None or echo.failure is None:
        page.line(f"C-ECHO successful! Response time: {echo.milliseconds}ms", "✅", indent=0)
        if echo.milliseconds > SLOW_MS:
            page.line("That is slow (more than 1 s): check the network path and the system's load.", "⚠", indent=0)
        return
    page.line(f"C-ECHO failed after {echo.milliseconds}ms: {echo.failure.message}", "❌", indent=0)
    page.line(f"It means: {said[0]}.", indent=3)
    page.line(f"What to do: {said[1]}.", indent=3)
