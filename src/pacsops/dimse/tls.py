"""TLS contexts for DICOM (PS3.15 annex B): both sides show certificates."""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(certificate: Path, key: Path, trusted: Path) -> ssl.SSLContext:
    """What to show a peer over TLS, and whom to believe of them: files in PEM form.

    As DCMTK and Orthanc do, the peer's authority is looked at, its name is not: peers are known by address.

    Raises:
        OSError: a file is missing or unfit.
    """
    context = ssl.create_default_context(cafile=trusted)
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    return context


def acceptor_tls_context(certificate: Path, key: Path, trusted: Path) -> ssl.SSLContext:
    """The same for the side that accepts: who calls has to show a certificate of a trusted authority.

    Raises:
        OSError: a file is missing or unfit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context
