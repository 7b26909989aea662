"""A service's certificates, read anew when their files are others.

Source: PS3.15 annex B
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from pacsops.dimse import TlsFailed, tls_context


class Kept:
    """What was made of files, until they are others: associations are kept by it."""

    def __init__(self, make: Callable[[], ssl.SSLContext], *files: Path) -> None:
        self._make = make
        self._files = files
        self._made: tuple[object, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """
        Raises:
            OSError: a file is missing or unfit.
        """
        stamp = [_stamp(path) for path in self._files]
        if self._made is None or self._made[0] != stamp:
            self._made = stamp, self._make()
        return self._made[1]


class Certificates:
    """For destinations: what is unfit when it is wanted fails the sending.

    Args:
        service: whose they are, in messages: `the gateway`.
        certificate, key, trusted: files in PEM form; there are none where one is None.
        without: what is said then.
    """

    def __init__(
        self, service: str, certificate: Path | None, key: Path | None, trusted: Path | None, *, without: str
    ) -> None:
        self._service = service
        self._without = without
        self._kept: Kept | None = None
        if certificate is not None and key is not None and trusted is not None:
            self._kept = Kept(lambda: tls_context(certificate, key, trusted), certificate, key, trusted)

    def context(self) -> ssl.SSLContext:
        """
        Raises:
            TlsFailed: there are none, or they are unfit.
        """
        if self._kept is None:
            raise TlsFailed(self._without)
        try:
            return self._kept.context()
        except OSError as error:
            raise TlsFailed(f"{self._service}'s certificates cannot be used: {unfit(error)}") from error


def unfit(error: OSError) -> str:
    """Which file, and what about it."""
    said = f"unfit ({error.reason or 'not in PEM form'})" if isinstance(error, ssl.SSLError) else error.strerror
    return f"{error.filename}: {said}"


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
