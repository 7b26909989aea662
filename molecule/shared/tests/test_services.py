"""What each host runs, as whom, and what its network can reach."""

from __future__ import annotations

from tests.support.deployed import SiteHost
from tests.support.network import eventually

# Ports that every neighbour may reach, by service.
PUBLIC = {"orthanc": {8042, 4242}, "viewer": {8008}, "gateway": {11112}}
# What the site's hosts reach each other by; closed where there is only one host.
BETWEEN_HOSTS = {"postgres": {5432}}


def running_on(host: SiteHost) -> set[str]:
    """The services that run there, and are healthy where the runtime knows."""
    running = host.answers(
        systemd="systemctl list-units --plain --no-legend --state=running 'pacsops-*.service'"
        " | sed -E 's/pacsops-(.*)\\.service .*/\\1/'",
        compose="docker ps --filter health=healthy --format '{{.Label \"com.docker.compose.service\"}}'",
    )
    return set(running.split())


def test_a_host_runs_the_services_of_its_groups_and_no_others(host: SiteHost) -> None:
    for_tests = {"app01"} if host.runtime == "compose" else set()
    wanted = host.services | for_tests
    # Docker asks a container that was killed for its health 10 seconds later.
    eventually(lambda: running_on(host) == wanted, within=40, what=f"{host.name} running {', '.join(sorted(wanted))}")


def test_only_the_ports_of_these_services_are_open_to_the_network(host: SiteHost) -> None:
    promised = set[int]().union(*(PUBLIC.get(service, set()) for service in host.services))
    if host.runtime == "compose":
        promised -= {8042}  # of its inventory; Orthanc itself would refuse, and listen all the same
    if not host.is_alone:
        promised = promised.union(*(BETWEEN_HOSTS.get(service, set()) for service in host.services))
    listening = [
        line.split()[3].rsplit(":", 1) for line in host.says("ss -H --listening --tcp --numeric").splitlines()
    ]
    open_to_others = {int(port) for address, port in listening if not address.startswith(("127.", "[::1]"))}
    assert open_to_others == promised


def test_every_service_has_an_account_of_its_own_and_none_is_root(host: SiteHost) -> None:
    # docker-init, which Docker puts before a container's program, has that program's account.
    accounts = {service: host.says(f"ps -o uid= -p {host.process_of(service)}").strip() for service in host.services}
    assert "0" not in accounts.values()
    assert len(set(accounts.values())) == len(accounts)


def test_services_are_held_to_their_memory(host: SiteHost) -> None:
    for service in host.services:
        limit = host.answers(
            systemd=f"systemctl show --property=MemoryMax --value pacsops-{service}.service",
            compose=f"docker inspect --format='{{{{.HostConfig.Memory}}}}' pacsops-{service}-1",
        )
        assert 2**26 <= int(limit) <= 2**33, service
