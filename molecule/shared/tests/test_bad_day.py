"""What came of side_effect.yml: MODLINK was down, hosts lost power, services were killed; nobody mended anything."""

from __future__ import annotations

from tests.support.deployed import Site


def test_the_study_of_the_bad_day_was_delivered_whole_once_modlink_was_back(site: Site) -> None:
    assert site.delivery_of("BAD-DAY")["status"] == "success"
    # Sent again, as a scanner may that knows no better: the same images, and they are there.
    assert site.scan("BAD-DAY") <= site.arrived()


def test_its_history_tells_of_the_failures_and_then_of_one_success(site: Site) -> None:
    told = [event["event"] for event in site.orthanc("history", "BAD-DAY")["timeline"]]
    assert told.count("send_success") == 1
    assert "send_failed" in told[: told.index("send_success")]
