"""TLS contexts for DICOM (PS3.15 annex B)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def tls_context(certificate: Path, key: Path, trusted: Path) -> ssl.SSLContext:
    """What to show a peer over TLS, and whom to believe of them: files in PEM form.

    As DCMTK and Orthanc do, the peer's authority is looked at, its name is not: peers are known by address.

    Raises:
        OSError: a file is missing or unfit; `filename` says which.
    """
    with _about(trusted):
        context = ssl.create_default_context(cafile=trusted)
    context.check_hostname = False
    with _about(certificate, key):
        context.load_cert_chain(certificate, key)
    return context


def acceptor_tls_context(certificate: Path, key: Path, trusted: Path | None) -> ssl.SSLContext:
    """The same for the side that accepts: who calls has to show a certificate of a trusted authority.

    Args:
        trusted: None asks nobody for a certificate; the connection is encrypted, and who calls is not known by it.

    Raises:
        OSError: a file is missing or unfit; `filename` says which.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if trusted is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        with _about(trusted):
            context.load_verify_locations(trusted)
    with _about(certificate, key):
        context.load_cert_chain(certificate, key)
    return context


@contextmanager
def _about(*files: Path) -> Iterator[None]:
    """Errors of `ssl` do not say which file they are about."""
    try:
        for file in files:
            file.open("rb").close()
        yield
    except OSError as error:
        error.filename = error.filename or " with ".join(map(str, files))
        raise
