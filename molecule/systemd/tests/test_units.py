"""The services as units of systemd."""

from __future__ import annotations

from tests.support.deployed import SiteHost


def test_units_are_confined(host: SiteHost) -> None:
    for service in host.services:
        # Exposure, in tenths: 30 is 3.0 of 10. Above that, the command fails.
        looked = host.machine.run(f"systemd-analyze security --no-pager --threshold=30 pacsops-{service}.service")
        assert looked.rc == 0, looked.stdout


def test_systemd_has_nothing_to_say_against_the_units(host: SiteHost) -> None:
    units = " ".join(["pacsops.target", *(f"pacsops-{service}.service" for service in host.services)])
    looked = host.machine.run(f"systemd-analyze verify {units}")
    assert (looked.rc, looked.stderr) == (0, "")


def test_services_start_with_the_host(host: SiteHost) -> None:
    assert host.machine.service("pacsops.target").is_enabled
    for service in host.services:
        assert host.machine.service(f"pacsops-{service}").is_enabled


def test_what_debian_would_run_does_not_run(host: SiteHost) -> None:
    packaged = "orthanc.service 'postgresql@*' nginx.service"  # the host has been restarted since they were installed
    assert host.says(f"systemctl list-units --plain --no-legend --state=running {packaged}") == ""
