"""C-ECHO from this host, telling apart every way it can fail.

Source: PS3.4 annex A (Verification), PS3.7 9.1.5 (C-ECHO), PS3.8 9.3.4 (A-ASSOCIATE-RJ)
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time

Outcome = Literal["answered", "rejected", "refused", "unreachable", "timeout", "aborted"]


@dataclass(frozen=True, slots=True)
class EchoResult:
    """How one C-ECHO went.

    answered: status Success. rejected: the association, or C-ECHO on it, was turned down. refused: nothing listens on
    the port. unreachable: no way to the host. timeout: silence. aborted: the peer hung up.
    """

    outcome: Outcome
    milliseconds: int
    """From connecting to the answer, or to giving up."""
    reason: str
    """In plain words; empty when answered."""

    @property
    def ok(self) -> bool:
        return self.outcome == "answered"


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


def echo(
    host: str,
    port: int,
    called_aet: str,
    calling_aet: str,
    timeout: float = 5.0,
    *,
    tls: ssl.SSLContext | None = None,
) -> EchoResult:
    """One C-ECHO on an association of its own.

    Args:
        timeout: seconds for each of connecting, associating and answering.
        tls: speak over TLS (PS3.15 annex B), see `tls_context`.

    Raises:
        ValueError: an AE title that is no AE title (PS3.5 6.2).
    """
    ae = AE(ae_title=calling_aet)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout
    ae.add_requested_context(Verification)
    started = time.perf_counter()
    outcome, reason = _echo(ae, host, port, called_aet, timeout, tls)
    return EchoResult(outcome, round((time.perf_counter() - started) * 1000), reason)


def _echo(
    ae: AE, host: str, port: int, called_aet: str, timeout: float, tls: ssl.SSLContext | None
) -> tuple[Outcome, str]:
    connected: list[evt.Event] = []
    started = time.perf_counter()
    try:
        association = ae.associate(
            host,
            port,
            ae_title=called_aet,
            evt_handlers=[(evt.EVT_CONN_OPEN, connected.append)],
            tls_args=(tls, host) if tls else None,
        )
    except socket.gaierror:
        return "unreachable", f"host name {host} is unknown"
    seconds = time.perf_counter() - started
    if not connected:
        return _no_connection(host, port, timeout - seconds, tls)
    if association.is_rejected:
        return "rejected", _rejection(association)
    if not association.is_established:
        return _no_association(association, timeout, seconds)
    try:
        return _verification(association, timeout)
    finally:
        if association.is_established:
            association.release()


def _verification(association: Association, timeout: float) -> tuple[Outcome, str]:
    asked = time.perf_counter()
    answer = association.send_c_echo()
    if "Status" not in answer:
        if time.perf_counter() - asked >= timeout:
            return "timeout", f"no answer to C-ECHO within {timeout:g} s"
        return "aborted", "the peer hung up instead of answering C-ECHO"
    if answer.Status != 0x0000:
        return "rejected", f"C-ECHO answered with status 0x{answer.Status:04X}"
    return "answered", ""


def _no_connection(host: str, port: int, seconds_left: float, tls: ssl.SSLContext | None) -> tuple[Outcome, str]:
    """Why there was no connection: pynetdicom does not tell, so ask the network once more."""
    try:
        connection = socket.create_connection((host, port), timeout=max(0.05, seconds_left))
    except TimeoutError:
        return "timeout", f"{host} does not answer on port {port}"
    except ConnectionRefusedError:
        return "refused", f"nothing listens on port {port} of {host}"
    except OSError as error:
        reason = "no route to the host" if error.errno == errno.EHOSTUNREACH else error.strerror or str(error)
        return "unreachable", reason.lower()
    with connection:
        trouble = _tls_trouble(connection, host, tls) if tls else ""
    return ("rejected", trouble) if trouble else ("unreachable", "the first connection failed, a second one worked")


def _tls_trouble(connection: socket.socket, host: str, tls: ssl.SSLContext) -> str:
    """Why the two do not come to speak TLS; empty where they do."""
    try:
        tls.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not believed: {error.verify_message}"
    except OSError as error:
        return f"no TLS with it: {error.strerror or error}"
    return ""


def _rejection(association: Association) -> str:
    answer = association.acceptor.primitive
    if answer is None:
        return "association rejected"
    return f"{answer.reason_str} ({answer.result_str.lower()}, by {answer.source_str.lower()})"


def _no_association(association: Association, timeout: float, seconds: float) -> tuple[Outcome, str]:
    if association.rejected_contexts:
        return "rejected", "the peer takes the association but not C-ECHO on it"
    if seconds >= timeout:
        return "timeout", f"no answer to the association request within {timeout:g} s"
    return "aborted", "the peer hung up instead of answering the association request"
