"""C-ECHO tells apart every way it can fail, against real peers."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from tests.support.network import accepts, eventually, free_port
from tests.support.peers import BlackHole, Peer

from pacsops.dimse.verification import EchoResult, echo


def echo_to(port: int, host: str = "127.0.0.1") -> EchoResult:
    return echo(host, port, called_aet="MODLINK", calling_aet="DOCTOR", timeout=1)


def test_a_living_peer_answers() -> None:
    with Peer("MODLINK") as peer:
        result = echo_to(peer.port)

    assert (result.outcome, result.ok, result.reason, peer.echoes) == ("answered", True, "", 1)


def test_dcmtk_answers() -> None:
    port = free_port()
    with subprocess.Popen(["/usr/bin/storescp", "--ignore", "-aet", "MODLINK", str(port)]) as storescp:
        try:
            eventually(lambda: accepts(port), what="storescp listening")
            assert echo_to(port).ok
        finally:
            storescp.terminate()


def test_a_rejection_is_given_in_the_standards_words() -> None:
    with Peer("MODLINK", rejects=True) as peer:
        result = echo_to(peer.port)

    assert (result.outcome, result.ok) == ("rejected", False)
    assert result.reason == "Called AE title not recognised (rejected permanent, by service user)"


def test_a_closed_port_is_refused() -> None:
    port = free_port()

    result = echo_to(port)

    assert (result.outcome, result.reason) == ("refused", f"nothing listens on port {port} of 127.0.0.1")


def test_an_unknown_host_name_is_unreachable() -> None:
    result = echo_to(104, host="modlink.invalid")

    assert (result.outcome, result.reason) == ("unreachable", "host name modlink.invalid is unknown")


def test_a_host_that_says_nothing_is_a_timeout() -> None:
    with BlackHole() as silent:
        result = echo_to(silent.port)

    assert (result.outcome, result.reason) == ("timeout", "no answer to the association request within 1 s")


def test_an_echo_never_answered_is_a_timeout() -> None:
    answer = threading.Event()

    def wait(_: evt.Event) -> int:
        answer.wait(10)
        return 0x0000

    ae = AE()
    ae.add_supported_context(Verification)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_ECHO, wait)])
    try:
        result = echo_to(port)
    finally:
        answer.set()
        ae.shutdown()

    assert (result.outcome, result.reason) == ("timeout", "no answer to C-ECHO within 1 s")


def test_a_peer_that_knows_no_echo_has_rejected_it() -> None:
    ae = AE()
    ae.add_supported_context(CTImageStorage)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False)
    try:
        result = echo_to(port)
    finally:
        ae.shutdown()

    assert (result.outcome, result.reason) == ("rejected", "the peer takes the association but not C-ECHO on it")


def test_a_peer_that_hangs_up_has_aborted() -> None:
    def hang_up() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = threading.Thread(target=hang_up)
        peer.start()
        result = echo_to(listener.getsockname()[1])
        peer.join()

    assert result.outcome == "aborted"


def test_no_title_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="is no AE title"):
        echo("127.0.0.1", 104, called_aet="MODLINK", calling_aet="")
