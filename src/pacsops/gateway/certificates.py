"""The site's certificates, read anew when their files are others: for destinations, and for who sends over TLS.

Source: PS3.15 annex B
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from pacsops.dimse import TlsFailed, acceptor_tls_context, tls_context
from pacsops.errors import SettingsError
from pacsops.observe.logs import EventLog
from pacsops.settings import Settings

_LOG = EventLog("gateway")


class _Kept:
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
    """For destinations: what is unfit when it is wanted fails the sending."""

    def __init__(self, settings: Settings) -> None:
        certificate, key, trusted = settings.gateway_certificate, settings.gateway_key, settings.gateway_trusted
        self._kept: _Kept | None = None
        if certificate is not None and key is not None and trusted is not None:
            self._kept = _Kept(lambda: tls_context(certificate, key, trusted), certificate, key, trusted)

    def context(self) -> ssl.SSLContext:
        """
        Raises:
            TlsFailed: there are none, or they are unfit.
        """
        if self._kept is None:
            raise TlsFailed("the gateway has no certificate to show: GATEWAY_CERTIFICATE is not set")
        try:
            return self._kept.context()
        except OSError as error:
            raise TlsFailed(f"the gateway's certificates cannot be used: {_why(error)}") from error


class ReceiverCertificates:
    """For who sends to GATEWAY_TLS_PORT. Call it for the context in force; unfit files leave it as it is.

    Raises:
        SettingsError: there are none, or they are unfit.
    """

    def __init__(self, settings: Settings) -> None:
        certificate, key = settings.gateway_certificate, settings.gateway_key
        if certificate is None or key is None:
            raise SettingsError(
                f"GATEWAY_TLS_PORT is {settings.gateway_tls_port}, but there is no certificate to show",
                hint="GATEWAY_CERTIFICATE and GATEWAY_KEY in .env name it and its key; the deployment writes them",
            )
        required = settings.gateway_tls_clients == "required"
        trusted = settings.gateway_trusted if required else None
        if required and trusted is None:
            raise SettingsError(
                "GATEWAY_TLS_CLIENTS is required, but nobody's certificate is believed",
                hint="GATEWAY_TRUSTED in .env names the authorities; GATEWAY_TLS_CLIENTS=none asks nobody for one",
            )
        files = (certificate, key, trusted) if trusted else (certificate, key)
        self._kept = _Kept(lambda: acceptor_tls_context(certificate, key, trusted), *files)
        self._path = certificate
        self._trouble = ""
        try:
            self._context = self._kept.context()
        except OSError as error:
            raise SettingsError(
                f"cannot speak TLS on port {settings.gateway_tls_port}: {_why(error)}",
                hint="GATEWAY_CERTIFICATE, GATEWAY_KEY and GATEWAY_TRUSTED in .env name files in PEM form, which the"
                " gateway's account has to be able to read; GATEWAY_TLS_PORT=0 does without TLS",
            ) from error

    def __call__(self) -> ssl.SSLContext:
        return self._context

    def look(self) -> None:
        """Take up changed files, and log those that cannot be: of a certificate and its key, one comes first."""
        try:
            context = self._kept.context()
        except OSError as error:
            trouble = _why(error)
            if trouble != self._trouble:
                _LOG.error("certificate_rejected", path=self._path, error=trouble)
            self._trouble = trouble
            return
        self._trouble = ""
        if context is not self._context:
            self._context = context
            _LOG.info("certificate_loaded", path=self._path)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _why(error: OSError) -> str:
    """Which file, and what about it."""
    said = f"unfit ({error.reason or 'not in PEM form'})" if isinstance(error, ssl.SSLError) else error.strerror
    return f"{error.filename}: {said}"
