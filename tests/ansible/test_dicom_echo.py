"""dicom_echo against real peers."""

from __future__ import annotations

import time
from typing import Any

from tests.ansible.conftest import RunModule
from tests.support.network import free_port
from tests.support.peers import BlackHole, Peer


def peer(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "aet": name, "host": "127.0.0.1", "port": port}


def test_each_peer_is_reported_as_it_answers(run_module: RunModule) -> None:
    with Peer("MODLINK") as good, Peer("STRICT", rejects=True) as strict:
        asked = [peer("MODLINK", good.port), peer("STRICT", strict.port), peer("DOWN", free_port())]
        result = run_module("dicom_echo", {"calling_aet": "ORTHANC", "peers": asked})

    assert [each["outcome"] for each in result["peers"]] == ["answered", "rejected", "refused"]
    assert not result["changed"]
    assert [finding.split(":")[0] for finding in result["findings"]] == ["STRICT", "DOWN"]


def test_silent_peers_are_waited_for_side_by_side(run_module: RunModule) -> None:
    started = time.monotonic()
    with BlackHole() as hole:
        asked = [peer(f"SILENT{n}", hole.port) for n in range(8)]
        result = run_module("dicom_echo", {"calling_aet": "ORTHANC", "peers": asked, "timeout": 1.5})

    assert {each["outcome"] for each in result["peers"]} == {"timeout"}
    assert time.monotonic() - started < 8 * 1.5, "one after the other would take at least this long"


def test_a_peer_that_is_down_fails_the_task_only_when_asked_to(run_module: RunModule) -> None:
    arguments = {"calling_aet": "ORTHANC", "peers": [peer("DOWN", free_port())]}

    assert not run_module("dicom_echo", arguments).get("failed")
    failed = run_module("dicom_echo", {**arguments, "fail_on_unreachable": True})
    assert failed["failed"]
    assert "DOWN" in failed["msg"]


def test_a_slow_peer_is_warned_about(run_module: RunModule) -> None:
    with Peer("MODLINK") as good:
        arguments = {"calling_aet": "ORTHANC", "peers": [peer("MODLINK", good.port)], "slow_ms": -1}
        result = run_module("dicom_echo", arguments)

    assert result["peers"][0]["slow"]
    assert "MODLINK answers slowly" in result["findings"][0]
