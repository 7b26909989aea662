"""workers_net: whoever runs there handles images, and gets no connection to Orthanc nor out of the host."""

from __future__ import annotations

import json

from tests.support.deployed import SiteHost

ORTHANC_PORTS = (8042, 4242)
# Prints every address:port of its arguments that accepts a connection.
TRY = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def accepts(way):
    try:
        socket.create_connection(way.rsplit(':', 1), timeout=3).close()
    except OSError:
        return False
    return True

ways = sys.argv[1:]
with ThreadPoolExecutor(len(ways)) as pool:
    print(*(way for way, open in zip(ways, pool.map(accepts, ways)) if open))
"""


def reached_from(host: SiteHost, container: str, ways: list[str]) -> list[str]:
    """Those ways, address:port, on which a container gets a connection."""
    return host.says(f'docker exec {container} python3 -c "{TRY}" {" ".join(ways)}').split()


def ways_to_orthanc(host: SiteHost) -> list[str]:
    """Its ports on every address it might have: its names, its container's, the networks' gateways, the host's."""
    orthanc = json.loads(host.says("docker inspect pacsops-orthanc-1"))[0]
    networks = host.says("docker network ls --quiet --filter driver=bridge").split()
    described = json.loads(host.says(f"docker network inspect {' '.join(networks)}"))
    gateways = [pool["Gateway"] for network in described for pool in network["IPAM"]["Config"] if "Gateway" in pool]
    own = [network["IPAddress"] for network in orthanc["NetworkSettings"]["Networks"].values()]
    addresses = {"orthanc", "pacsops-orthanc-1", *own, *gateways, *host.says("hostname -I").split()}
    return [f"{address}:{port}" for address in sorted(addresses) for port in ORTHANC_PORTS]


def test_a_worker_reaches_orthanc_in_no_way(host: SiteHost) -> None:
    ways = ways_to_orthanc(host)
    assert len(reached_from(host, "pacsops-router-1", ways)) >= 4, "the same question, from where they are reached"
    assert len(reached_from(host, "pacsops-gateway-1", ways)) >= 4, "and from the gateway, which sends to it"
    assert reached_from(host, "pacsops-app01-1", ways) == []


def test_a_worker_reaches_the_gateway_and_neither_its_database_nor_its_neighbours(host: SiteHost) -> None:
    ways = ["gateway:11112", "postgres:5432", "router:8043", "viewer:8008"]
    assert reached_from(host, "pacsops-app01-1", ways) == ["gateway:11112"]


def test_workers_net_is_a_network_without_a_way_out(host: SiteHost) -> None:
    network = json.loads(host.says("docker network inspect pacsops_workers_net"))[0]
    assert network["Internal"]
    attached = {container["Name"] for container in network["Containers"].values()}
    assert attached == {"pacsops-app01-1", "pacsops-gateway-1"}
