"""What the gateway shows over TLS, and whom it believes: destinations, and who sends to it.

Source: PS3.15 annex B
"""

from __future__ import annotations

import ssl

from pacsops.dimse import acceptor_tls_context
from pacsops.errors import SettingsError
from pacsops.observe.logs import EventLog
from pacsops.sending.certificates import Certificates, Kept, unfit
from pacsops.settings import Settings

_LOG = EventLog("gateway")


def for_destinations(settings: Settings) -> Certificates:
    """What the gateway shows to destinations, and whom it believes of them."""
    return Certificates(
        "the gateway",
        settings.gateway_certificate,
        settings.gateway_key,
        settings.gateway_trusted,
        without="the gateway has no certificate to show: GATEWAY_CERTIFICATE is not set",
    )


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
        self._kept = Kept(lambda: acceptor_tls_context(certificate, key, trusted), *files)
        self._path = certificate
        self._trouble = ""
        try:
            self._context = self._kept.context()
        except OSError as error:
            raise SettingsError(
                f"cannot speak TLS on port {settings.gateway_tls_port}: {unfit(error)}",
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
            trouble = unfit(error)
            if trouble != self._trouble:
                _LOG.error("certificate_rejected", path=self._path, error=trouble)
            self._trouble = trouble
            return
        self._trouble = ""
        if context is not self._context:
            self._context = context
            _LOG.info("certificate_loaded", path=self._path)
