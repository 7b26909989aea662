"""What an operator looks at and orders, from the controller: each playbook on a deployed site."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.support.demo_site import undeployed
from tests.support.hospital import Hospital
from tests.support.network import eventually
from tests.support.seat import Seat

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """ACC-1 is stuck at MODLINK, which is well again; every other delivery was made."""
    folder = tmp_path_factory.mktemp("operators")
    (folder / "bin").mkdir()
    site = undeployed(folder / "site")
    try:
        site.deploy()
        hospital = Hospital(site, Seat(site, folder / "bin"))
        with hospital.modlink_is(status=0xC001):
            hospital.scan("ACC-1")
            eventually(lambda: state_of(hospital, "ACC-1", "MODLINK") == "stuck", within=60, what="ACC-1 stuck")
        yield hospital
    finally:
        site.shut_down()


def state_of(hospital: Hospital, study: str, destination: str) -> str:
    answer = json.loads(hospital.site.orthanc("history", study, "--json").stdout)
    states = [each["status"] for each in answer.get("deliveries", []) if each["destination"] == destination]
    return states[-1] if states else ""


def said(hospital: Hospital, playbook: str, *arguments: str, **variables: object) -> str:
    """What a playbook prints; it has to succeed and to change nothing that Ansible knows of."""
    done = hospital.site.play(f"playbooks/{playbook}.yml", *arguments, **variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("playbook", "variables", "shown"),
    [
        ("status", {}, "needs attention (1 delivery stuck)"),
        ("stuck", {"destination": "MODLINK"}, "0xC001"),
        ("pending", {"overdue": True}, "Nothing is overdue."),
        ("failures", {}, "MODLINK"),
        ("history", {"study": "ACC-1"}, "Patient:"),
        ("logs", {"level": "all", "service": "router", "study": "ACC-1"}, "RECEIVED"),
    ],
)
def test_what_can_be_looked_at(hospital: Hospital, playbook: str, variables: dict[str, object], shown: str) -> None:
    printed = said(hospital, playbook, **variables)

    assert shown in printed, printed


@pytest.mark.parametrize(
    ("playbook", "variables", "reason"),
    [
        ("history", {"study": "ACC-404"}, "ACC-404"),
        ("logs", {"level": "loud"}, "level is one of errors, warnings, all, and not loud."),
        ("skip", {"study": "ACC-1"}, "and why, for the history"),
        ("send", {"study": "ACC-1"}, "Say what, and where to"),
        ("services", {}, "Say what: -e verb=start, stop or restart"),
        ("services", {"verb": "restart", "service": "postgres9"}, "None of these hosts has postgres9."),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    hospital: Hospital, playbook: str, variables: dict[str, object], reason: str
) -> None:
    before = hospital.site.processes()

    refused = hospital.site.play(f"playbooks/{playbook}.yml", **variables)

    assert refused.returncode != 0
    assert reason in " ".join(refused.stdout.split()), refused.stdout
    assert hospital.site.processes() == before
    assert state_of(hospital, "ACC-1", "MODLINK") == "stuck"


def test_a_check_run_orders_nothing(hospital: Hospital) -> None:
    before = hospital.site.processes()

    assert "changed=1" in said(hospital, "retry", "--check", study="ACC-1")
    assert "changed=1" in said(hospital, "cancel", "--check", study="ACC-1", reason="no")
    assert "MODLINK" in said(hospital, "send", "--check", study="ACC-1", destination="LPCHROUTER")
    said(hospital, "reconcile", "--check")
    assert "orthanc restart router" in said(hospital, "services", "--check", verb="restart", service="router")

    assert hospital.site.processes() == before
    assert state_of(hospital, "ACC-1", "MODLINK") == "stuck"


def test_orders_from_the_controller_are_carried_out(hospital: Hospital) -> None:
    skipped = said(hospital, "skip", study="ACC-1", destination="MODLINK", reason="sent by courier")
    assert "Deliveries skipped: 1" in skipped
    assert state_of(hospital, "ACC-1", "MODLINK") == "skipped"
    assert "sent by courier" in said(hospital, "history", study="ACC-1")

    said(hospital, "send", study="ACC-1", destination="MODLINK")
    eventually(lambda: state_of(hospital, "ACC-1", "MODLINK") == "success", within=60, what="ACC-1 at MODLINK")

    said(hospital, "reconcile", since="1d")


def test_a_service_is_restarted_and_no_other(hospital: Hospital) -> None:
    before = hospital.site.processes()

    said(hospital, "services", verb="restart", service="router")

    after = hospital.site.processes()
    assert {name for name in before if before[name] != after.get(name)} == {"router"}


def test_the_whole_site_is_stopped_and_started(hospital: Hospital) -> None:
    said(hospital, "services", verb="stop")
    assert hospital.site.processes() == {}

    said(hospital, "services", verb="start")
    hospital.is_well()
