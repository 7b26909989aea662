"""Every way a destination can fail is told apart, and many are asked as quickly as one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from tests.integration.cli.conftest import CommandLine, Site
from tests.integration.doctor.conftest import examined
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import BlackHole, Peer

from pacsops.doctor import Site as DoctorsSite
from pacsops.doctor.checks import destinations as checks
from pacsops.doctor.checks.destinations import destination_echo
from pacsops.orthanc import Modality, ensure
from pacsops.settings import Settings

pytestmark = pytest.mark.usefixtures("well")


@contextmanager
def echoing(answer: threading.Barrier | threading.Event, *, callers: list[str] | None = None) -> Iterator[int]:
    """A verification SCP that takes its time over each answer; its port. `callers`: AE titles it takes."""

    def on_echo(_event: evt.Event) -> int:
        answer.wait(1.2 if isinstance(answer, threading.Event) else 20)
        return 0x0000

    ae = AE(ae_title="SLOW")
    ae.maximum_associations = 200
    ae.require_calling_aet = callers or []
    ae.add_supported_context(Verification)
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_ECHO, on_echo)])
    assert server is not None
    try:
        yield port
    finally:
        ae.shutdown()


def test_each_way_to_fail_is_told_with_what_to_do(orthanc: OrthancServer, cli: CommandLine) -> None:
    with (
        Peer("ELSE", rejects=True) as rejects,
        echoing(threading.Event(), callers=["SOMEBODY"]) as picky,
        BlackHole("SILENT") as silent,
    ):
        for modality in (
            rejects.modality("WRONG_CALLED"),
            Modality(name="WRONG_CALLING", aet="SLOW", host="127.0.0.1", port=picky),
            silent.modality(),
            Modality(name="NOBODY", aet="X", host="127.0.0.1", port=free_port()),
            Modality(name="NOWHERE", aet="X", host="no-such-host.invalid", port=104),
            replace(silent.modality("NO_TLS"), use_dicom_tls=True),
        ):
            ensure(orthanc.client, modality)
        findings = examined(cli, "destination-echo")

    said = {one["subject"]: (one["severity"], one["evidence"]["error_class"]) for one in findings}
    assert said == {
        "MERCURE": ("ok", None),
        "MODLINK": ("ok", None),
        # No route sends to the following: they cost nobody an image.
        "WRONG_CALLED": ("warning", "rejected-association"),
        "WRONG_CALLING": ("warning", "rejected-association"),
        "SILENT": ("warning", "timeout"),
        "NOBODY": ("warning", "refused"),
        "NOWHERE": ("warning", "unreachable"),
        "NO_TLS": ("warning", "tls"),
    }
    called, calling = (findings.of("destination-echo", name) for name in ("WRONG_CALLED", "WRONG_CALLING"))
    assert "Called AE title not recognised" in called["message"]
    assert "its own AE title is not ELSE" in called["recommendation"]
    assert "Calling AE title not recognised" in calling["message"]
    assert f"must register our AE title {orthanc.aet}" in calling["recommendation"]
    assert "TLS" in findings.of("destination-echo", "NO_TLS")["recommendation"]


def test_a_destination_that_takes_longer_than_a_second_is_slow(
    orthanc: OrthancServer, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SLOW_MS", 1000)
    with echoing(threading.Event()) as slow:
        ensure(orthanc.client, Modality(name="SLOW", aet="SLOW", host="127.0.0.1", port=slow))
        found = examined(cli, "destination-echo").of("destination-echo", "SLOW")

    assert found["severity"] == "warning"
    assert found["message"].endswith("ms (slow).")
    assert found["evidence"]["milliseconds"] > 1000


def test_a_destination_that_routes_send_to_is_an_error_when_it_is_away(
    orthanc: OrthancServer, cli: CommandLine
) -> None:
    ensure(orthanc.client, Modality(name="MODLINK", aet="MODLINK", host="127.0.0.1", port=free_port()))

    assert examined(cli, "destination-echo").of("destination-echo", "MODLINK")["severity"] == "error"


def test_a_hundred_destinations_are_asked_side_by_side(settings: Settings) -> None:
    """None answers before forty have been asked: one after another, nobody ever would."""
    together = threading.Barrier(40)
    with OrthancServer(options={"HttpThreadsCount": 50}) as orthanc, echoing(together) as port:
        names = [f"PACS{number}" for number in range(120)]
        for name in names:
            orthanc.client.put(f"/modalities/{name}", {"AET": "SLOW", "Host": "127.0.0.1", "Port": port})
        patient = DoctorsSite(lambda: orthanc.settings(of=settings))
        findings = list(destination_echo.look(patient))
        patient.close()

    assert {finding.subject for finding in findings} == set(names)
    assert {finding.evidence["error"] for finding in findings} == {None}


def test_an_open_breaker_and_what_waits_behind_it_are_told(well: Site, cli: CommandLine) -> None:
    well.stuck()
    found = examined(cli, "destination-deliveries").of("destination-deliveries", "MERCURE")

    assert found["severity"] == "error"
    assert found["message"].startswith("MERCURE is down since")
    assert (found["evidence"]["breaker"], found["evidence"]["stuck"]) == ("open", 1)


def test_a_destination_that_orthanc_lost_is_told(well: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    orthanc.client.delete("/modalities/MODLINK")
    findings = examined(cli, "routes-destinations")

    assert "unknown destination 'MODLINK'" in findings.of("routes-destinations")["message"]
