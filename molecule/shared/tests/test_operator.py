"""What an operator does on a host, whichever way it runs its services."""

from __future__ import annotations

import json
from typing import Any

from tests.support.deployed import SiteHost
from tests.support.network import eventually

ORTHANC = "/opt/orthanc/bin/orthanc"


def asked(host: SiteHost, words: str) -> dict[str, Any]:
    """What a command answers with --json."""
    answer: dict[str, Any] = json.loads(host.says(f"{ORTHANC} {words} --json"))
    return answer


def test_every_service_of_a_host_has_a_log_that_is_understood(host: SiteHost) -> None:
    for service in host.services - {"viewer"}:  # which says nothing while nothing goes wrong and nobody looks
        shown = host.says(f"{ORTHANC} logs --no-follow --json --lines 200 --service {service}")
        lines = [json.loads(line) for line in shown.splitlines()]
        assert lines, service
        assert {line["service"] for line in lines} == {service}
        # What a program says before its log is set up has no form, and is shown as it is.
        assert [line for line in lines if line["at"]], service
        assert any(line["level"] for line in lines), service


def test_only_root_reads_logs_and_stops_services_and_others_are_told_so(host: SiteHost) -> None:
    for words in ("logs --no-follow", f"stop {min(host.services)} --yes"):
        refused = host.machine.run(f"setpriv --reuid 65534 --regid 65534 --clear-groups {ORTHANC} {words}")
        assert refused.rc == 2, words
        assert "sudo" in refused.stderr or "cannot read" in refused.stderr, refused.stderr


def test_services_are_stopped_and_started_in_their_order(host: SiteHost) -> None:
    """The router's host only: nobody receives or looks meanwhile."""
    if "router" not in host.services:
        return
    before = host.process_of("router")
    assert [step["outcome"] for step in asked(host, "stop router --yes")["services"]] == ["stopped"]
    followed = asked(host, "start router")
    assert {step["name"]: step["outcome"] for step in followed["services"]}["router"] == "started"
    eventually(lambda: host.process_of("router") not in (0, before), within=30, what="another router running")
    again = asked(host, "start")
    assert {step["outcome"] for step in again["services"]} == {"runs already"}


def test_following_goes_on_over_a_restart(host: SiteHost) -> None:
    if "router" not in host.services:
        return
    follow = f"timeout 60 {ORTHANC} logs --follow --json --service router --grep router_started"
    count = len(host.says(f"{ORTHANC} logs --no-follow --json --service router --grep router_started").splitlines())
    # The first new start of the router ends it.
    host.says(f"({follow} | head -n {count + 1} > /tmp/followed) & sleep 3; {ORTHANC} restart router --yes; wait")
    assert len(host.machine.file("/tmp/followed").content_string.splitlines()) == count + 1
