"""The services as containers."""

from __future__ import annotations

import json
from typing import Any

from tests.support.deployed import SiteHost


def containers(host: SiteHost) -> dict[str, dict[str, Any]]:
    """What Docker says of each, by the service's name."""
    names = {service: f"pacsops-{service}-1" for service in host.services}
    said = json.loads(host.says(f"docker inspect {' '.join(names.values())}"))
    return dict(zip(names, said, strict=True))


def test_compose_has_nothing_to_say_against_its_file(host: SiteHost) -> None:
    looked = host.machine.run("docker compose --file /opt/orthanc/compose.yml config --quiet")
    assert (looked.rc, looked.stderr) == (0, "")


def test_containers_are_confined(host: SiteHost) -> None:
    for service, container in containers(host).items():
        limits = container["HostConfig"]
        assert limits["ReadonlyRootfs"], service
        assert limits["CapDrop"] == ["ALL"], service
        assert not limits["CapAdd"], service
        assert not limits["Privileged"], service
        assert "no-new-privileges:true" in limits["SecurityOpt"], service
        assert limits["PidsLimit"] > 0, service


def test_containers_come_back_with_the_host_and_their_logs_are_bounded(host: SiteHost) -> None:
    for service, container in containers(host).items():
        assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", service
        assert container["HostConfig"]["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-file": "5", "max-size": "10m"},
        }, service
