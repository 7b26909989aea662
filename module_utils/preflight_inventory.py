"""What an inventory says that cannot be meant, found without touching a host.

Runs on the controller. A check yields one sentence a problem.
"""

from __future__ import annotations

import difflib
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # there wherever Ansible runs playbooks

AE_TITLE_LENGTH = 16
"""Characters an AE title may have (DICOM PS3.5, table 6.2-1)."""
SERVICE_NEEDS = {
    "orthanc": ("database",),
    "router": ("database", "orthanc"),
    "viewer": ("orthanc",),
    "gateway": ("database",),
}
"""Group -> the groups without which it serves nobody."""
COLLECTIONS = {"compose": "community.docker"}
"""Runtime -> the Ansible collection it takes."""
LOOPBACK = ("127.", "localhost", "::1")


def meant(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """` (did you mean …?)`, or nothing when no known name is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]}?)" if close else ""


def variable_problems(
    given: Iterable[str], known: Collection[str], former: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """A variable with a prefix of ours that no role reads was meant to be another one, or was one once.

    `former`: the old name -> {now: the present name} or {gone: why there is none}.
    """
    for name in sorted(set(given) - set(known)):
        became = former.get(name, {})
        if "now" in became:
            yield f"{name} is called {became['now']} now: rename it"
        elif "gone" in became:
            yield f"{name} is no variable any more: {became['gone']}. Remove it"
        else:
            yield f"no role knows the variable {name}{meant(name, known)}"


def secret_problems(unfit: Iterable[str]) -> Iterator[str]:
    """`unfit`: variables with passwords that some file format would garble."""
    for variable in unfit:
        yield f"{variable} must be 8 or more of the characters A-Z a-z 0-9 . _ ~ + = @ / -"


def group_problems(groups: Mapping[str, Sequence[str]], known: Collection[str]) -> Iterator[str]:
    """Groups that look like misspelt ones of ours, and services without those they need.

    `groups`: group -> hosts, of the whole inventory; `known`: the groups that mean something to a role.
    """
    for name in sorted(set(groups) - set(known)):
        if hint := meant(name, known, cutoff=0.8):
            yield f"no role knows the group {name}{hint}"
    for name, needs in SERVICE_NEEDS.items():
        for need in needs:
            if groups.get(name) and not groups.get(need):
                yield f"the group {name} has hosts and the group {need} has none: the {name} needs one"


def runtime_problems(kind: str, kinds: Collection[str]) -> Iterator[str]:
    """A `runtime` nobody renders."""
    if kind not in kinds:
        yield f"there is no runtime {kind}{meant(kind, kinds)}: set runtime to {' or '.join(kinds)}"


def collection_problems(hosts: Mapping[str, Mapping[str, Any]], paths: Iterable[str]) -> Iterator[str]:
    """A runtime whose Ansible collection the controller lacks. `paths`: where it looks for ansible_collections/."""
    needed = {COLLECTIONS[host["runtime"]] for host in hosts.values() if host["runtime"] in COLLECTIONS}
    for name in sorted(needed):
        if not any(Path(path, "ansible_collections", *name.split(".")).is_dir() for path in paths):
            yield f"this controller lacks the collection {name}: ansible-galaxy install -r requirements.yml"


def port_problems(ports: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Two services on one port. `ports`: service -> the variable that sets a port -> the port, 0 for none."""
    users: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for service, wanted in ports.items():
        for variable, port in wanted.items():
            users[int(port)].append((service, variable))
    for port, sharing in sorted(users.items()):
        if port != 0 and len(sharing) > 1:
            told = " and ".join(f"{service} ({variable})" for service, variable in sharing)
            yield f"port {port} is given to {told}: each needs its own"


def title_problems(titles: Mapping[str, str]) -> Iterator[str]:
    """AE titles no association carries. `titles`: what it is the title of -> the title."""
    for whose, title in titles.items():
        if not title.strip():
            yield f"the AE title of {whose} is empty"
        elif len(title) > AE_TITLE_LENGTH:
            yield f"the AE title of {whose}, {title}, has {len(title)} characters; {AE_TITLE_LENGTH} are allowed"
        elif title != title.strip() or "\\" in title or not (title.isascii() and title.isprintable()):
            yield f"the AE title of {whose}, {title!r}, has a character not allowed: plain ASCII, no backslash"


def modality_problems(modalities: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names given twice, and one peer under two names. `modalities` as in orthanc_modalities."""
    names = [str(each.get("name")) for each in modalities]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"orthanc_modalities has {name} {names.count(name)} times"
    peers: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for each in modalities:
        peers[str(each.get("aet")), str(each.get("host")), str(each.get("port"))].append(str(each.get("name")))
    for (aet, host, port), same in sorted(peers.items()):
        if len(set(same)) > 1:
            yield f"{' and '.join(sorted(set(same)))} of orthanc_modalities are one peer: {aet} at {host}:{port}"


def gateway_problems(gateway: Mapping[str, Any]) -> Iterator[str]:
    """A gateway nobody may send to, titles no association carries, pools of what is no destination, unknown `verify`.

    `gateway`: its `aet`, and `peers`, `destinations` and `pools` as the role's variables have them.
    """
    destinations, pools = gateway["destinations"], gateway["pools"]
    yield from title_problems({"the gateway (gateway_aet)": str(gateway["aet"])})
    yield from title_problems(
        {f"{name} (gateway_destinations)": str(to.get("aet")) for name, to in destinations.items()}
    )
    yield from title_problems(
        {f"peer {number} (gateway_peers)": str(each.get("aet")) for number, each in enumerate(gateway["peers"], 1)}
    )
    if not gateway["peers"]:
        yield "gateway_peers is empty: nobody could send to the gateway"
    for name, to in sorted(destinations.items()):
        if to.get("verify", "none") not in ("none", "find"):
            asks = "the gateway asks by C-FIND alone: find, or none"
            yield f"{name} of gateway_destinations has verify: {to['verify']}; {asks}"
    for pool, said in sorted(pools.items()):
        if pool in destinations:
            yield f"gateway_pools has {pool}, and gateway_destinations too: each needs a name of its own"
        for member in said.get("members") or []:
            if member not in destinations:
                hint = meant(member, destinations)
                yield f"{pool} of gateway_pools has {member}, which is not in gateway_destinations{hint}"


def route_problems(
    source: str, text: str, destinations: Collection[str], of_gateway: Collection[str] = ()
) -> Iterator[str]:
    """A routes.yml that is not there or no YAML, and routes to what the inventory does not list.

    `destinations`: of Orthanc's routes; `of_gateway`: destinations and pools of those with `source: gateway`.

    Everything else about it is found on the host, where the language of routes is installed.
    """
    if not source:
        return
    if not text:
        yield f"router_routes_source: {source} is not there, or empty"
        return
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        yield f"{source}{line} is no YAML: {error.problem}"
        return
    routes = document.get("routes") if isinstance(document, dict) else None
    for route in routes if isinstance(routes, list) else []:
        action = route.get("action") if isinstance(route, dict) else None
        to = action.get("to") if isinstance(action, dict) else None
        from_gateway = isinstance(route, dict) and route.get("source") == "gateway"
        known, where = (of_gateway, "gateway_destinations") if from_gateway else (destinations, "orthanc_modalities")
        for name in [to] if isinstance(to, str) else to or []:
            if name not in known:
                yield (
                    f"route {route.get('name')!r} sends to {name}, which is not in {where}{meant(str(name), known)}"
                )


def reach_problems(host: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Addresses of this host itself for what runs on another one.

    `host`: its `groups` (names), and `reaches`: variable -> {service: group, at: address or URL}.
    """
    for variable, reached in sorted(host["reaches"].items()):
        group, at = reached["service"], str(reached["at"])
        address = at.rpartition("://")[2].strip("[")
        if groups.get(group) and group not in host["groups"] and address.startswith(LOOPBACK):
            there = ", ".join(groups[group])
            yield f"{variable} is {at}, this host itself, and {group} is on {there}: say its address"


def sharing_problems(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Two Orthancs in one database: each deletes what the other stores. `hosts`: host -> its `index`, a database."""
    sharing: dict[str, list[str]] = defaultdict(list)
    for name, host in hosts.items():
        if "orthanc" in host["groups"]:
            sharing[host["index"]].append(name)
    for index, names in sorted(sharing.items()):
        if len(names) > 1:
            who = " and ".join(names)
            yield f"{who} keep their index in one database, {index}: set orthanc_database_name for each"


def viewer_problems(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A viewer asks Orthanc by DICOMweb."""
    without = [name for name, host in hosts.items() if "orthanc" in host["groups"] and not host["dicomweb"]]
    if groups.get("viewer") and without:
        yield f"there is a viewer, and Orthanc on {', '.join(without)} has no DICOMweb: set orthanc_dicomweb to true"


def secrets_folder_problems(folder: str, mode: int) -> Iterator[str]:
    """Generated passwords that others of the controller may read. `mode`: the folder's bits, 0 for none."""
    if mode & 0o077:
        yield f"others may look into {folder}: chmod -R go= {folder}"


def host_problems(asked: Mapping[str, Any], host: Mapping[str, Any], of_gateway: Collection[str]) -> Iterator[str]:
    """What is wrong with what the inventory says of one host. `of_gateway`: where the site's gateways may send to."""
    yield from variable_problems(host["variables"], asked["known_variables"], asked["former_variables"])
    yield from runtime_problems(host["runtime"], asked["runtimes"])
    yield from secret_problems(host["unfit_secrets"])
    yield from port_problems(host["ports"])
    yield from reach_problems(host, asked["groups"])
    modalities = host["modalities"]
    if "orthanc" in host["groups"]:
        yield from title_problems({"Orthanc (orthanc_aet)": str(host["aet"])})
        yield from title_problems({str(each.get("name")): str(each.get("aet")) for each in modalities})
        yield from modality_problems(modalities)
    if "gateway" in host["groups"]:
        yield from gateway_problems(host["gateway"])
    if {"router", "gateway"} & set(host["groups"]):
        names = {str(each.get("name")) for each in modalities}
        yield from route_problems(host["routes_source"], host["routes"], names, of_gateway)


def inventory_problems(asked: Mapping[str, Any], secrets_mode: int) -> Iterator[str]:
    """What is wrong with the site, then with its hosts: what is wrong with all of them is told once."""
    hosts = asked["hosts"]
    yield from group_problems(asked["groups"], asked["known_groups"])
    yield from sharing_problems(hosts)
    yield from viewer_problems(hosts, asked["groups"])
    yield from collection_problems(hosts, [*asked["collections_paths"], *sys.path])
    yield from secrets_folder_problems(asked["secrets_folder"], secrets_mode)
    gateways = [host["gateway"] for host in hosts.values() if "gateway" in host["groups"]]
    of_gateway = {name for each in gateways for name in (*each["destinations"], *each["pools"])}
    blamed: dict[str, list[str]] = {}
    for name, host in hosts.items():
        for problem in host_problems(asked, host, of_gateway):
            blamed.setdefault(problem, []).append(name)
    for problem, names in blamed.items():
        yield problem if len(names) == len(hosts) else f"{', '.join(names)}: {problem}"


def mode_of(folder: Path) -> int:
    """Its permission bits, 0 when it does not exist."""
    return folder.stat().st_mode & 0o777 if folder.exists() else 0
