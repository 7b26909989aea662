"""What preflight finds in an inventory, and what it lets pass."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.conftest import RunModule

checks: Any = importlib.import_module("ansible.module_utils.preflight_inventory")

PEER = {"name": "PACS", "aet": "PACS", "host": "192.0.2.9", "port": 104}
GROUPS = {"database": ["one"], "orthanc": ["one"], "router": ["one"]}


GATEWAY = {
    "aet": "EDGE",
    "peers": [{"aet": "CT1", "address": "198.51.100.0/24"}],
    "destinations": {"ARCHIVE": {"host": "192.0.2.9", "port": 104, "aet": "PACS"}},
    "pools": {"AI": {"members": ["ARCHIVE"]}},
}


def a_host(**said: Any) -> dict[str, Any]:
    """What the inventory says of a host with nothing wrong about it."""
    return {
        "groups": ["database", "orthanc", "router"],
        "variables": ["orthanc_aet"],
        "runtime": "systemd",
        "unfit_secrets": [],
        "ports": {"orthanc": {"orthanc_http_port": 8042, "orthanc_dicom_port": 4242}},
        "aet": "ORTHANC",
        "modalities": [PEER],
        "index": "orthanc at 127.0.0.1:5432",
        "dicomweb": True,
        "routes_source": "files/routes.yml",
        "routes": "routes: [{name: all, action: {send: study, to: PACS}}]",
        "gateway": {**GATEWAY, "peers": [], "aet": ""},
        "reaches": {
            "database_host": {"service": "database", "at": "127.0.0.1"},
            "orthanc_url": {"service": "orthanc", "at": "http://127.0.0.1:8042"},
        },
        **said,
    }


@pytest.fixture
def problems(run_module: RunModule, tmp_path: Path) -> Any:
    """The problems of a site, by what is other than in a sound one."""

    def look(groups: dict[str, list[str]] | None = None, **hosts: dict[str, Any]) -> list[str]:
        asked = {
            "groups": groups or GROUPS,
            "known_groups": ["database", "orthanc", "router", "viewer", "monitoring"],
            "known_variables": ["orthanc_aet", "orthanc_http_port", "database_host"],
            "former_variables": {
                "database_admin_password": {"gone": "it has none"},
                "orthanc_port": {"now": "orthanc_http_port"},
            },
            "runtimes": ["compose", "systemd", "supervisor"],
            "secrets_folder": str(tmp_path / "secrets"),
            "hosts": hosts or {"one": a_host()},
        }
        found: list[str] = run_module("site_inventory", asked)["problems"]
        return found

    return look


def test_a_sound_inventory_passes(problems: Any) -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"variables": ["orthanc_htp_port"]},
            "variable orthanc_htp_port (did you mean orthanc_http_port?)",
        ),
        ({"variables": ["orthanc_port"]}, "orthanc_port is called orthanc_http_port now: rename it"),
        ({"variables": ["database_admin_password"]}, "is no variable any more: it has none. Remove it"),
        ({"runtime": "composed"}, "there is no runtime composed (did you mean compose?)"),
        ({"unfit_secrets": ["orthanc_password"]}, "orthanc_password must be 8 or more of"),
        (
            {"ports": {"orthanc": {"orthanc_http_port": 8042}, "router": {"router_wake_port": 8042}}},
            "port 8042 is given to orthanc (orthanc_http_port) and router (router_wake_port)",
        ),
        (
            {"aet": "FAR_TOO_LONG_A_TITLE"},
            "(orthanc_aet), FAR_TOO_LONG_A_TITLE, has 20 characters; 16 are allowed",
        ),
        (
            {"modalities": [{**PEER, "aet": "PA\\CS"}]},
            "AE title of PACS, 'PA\\\\CS', has a character not allowed",
        ),
        ({"modalities": [{**PEER, "aet": "  "}]}, "the AE title of PACS is empty"),
        ({"modalities": [PEER, {**PEER, "host": "192.0.2.8"}]}, "orthanc_modalities has PACS 2 times"),
        ({"modalities": [PEER, {**PEER, "name": "ARCHIVE"}]}, "ARCHIVE and PACS of orthanc_modalities are one peer"),
        (
            {"routes": "routes: [{name: sr, action: {to: [PCAS]}}]"},
            "route 'sr' sends to PCAS, which is not in orthanc_modalities (did you mean PACS?)",
        ),
        ({"routes": "routes:\n - name: [a\n - b"}, "files/routes.yml, line 3 is no YAML"),
        ({"routes": ""}, "router_routes_source: files/routes.yml is not there, or empty"),
    ],
)
def test_what_cannot_be_meant_is_told(problems: Any, said: dict[str, Any], words: str) -> None:
    [problem] = problems(one=a_host(**said))

    assert words in problem


def a_gateway(**said: Any) -> dict[str, Any]:
    return a_host(groups=["database", "orthanc", "router", "gateway"], gateway={**GATEWAY, **said})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"peers": []}, "gateway_peers is empty: nobody could send to the gateway"),
        ({"aet": "THE_EDGE_OF_THE_SITE"}, "(gateway_aet), THE_EDGE_OF_THE_SITE, has 20 characters"),
        ({"peers": [{"aet": "C\\T"}]}, "AE title of peer 1 (gateway_peers), 'C\\\\T', has a character not allowed"),
        (
            {"destinations": {**GATEWAY["destinations"], "PACS": {"aet": "PACS", "verify": "storage_commitment"}}},
            "PACS of gateway_destinations has verify: storage_commitment; the gateway asks by C-FIND alone",
        ),
        ({"pools": {"AI": {"members": ["ARCHIV"]}}}, "AI of gateway_pools has ARCHIV, which is not in"),
        ({"pools": {"ARCHIVE": {"members": ["ARCHIVE"]}}}, "gateway_pools has ARCHIVE, and gateway_destinations too"),
    ],
)
def test_what_a_gateway_cannot_be_meant_to_do_is_told(problems: Any, said: dict[str, Any], words: str) -> None:
    [problem] = problems(one=a_gateway(**said))

    assert words in problem


def test_a_route_of_the_gateway_goes_where_the_gateway_can_send(problems: Any) -> None:
    """Also where routes.yml is read on another host, which knows its own destinations."""
    text = "routes: [{{name: gw, source: gateway, action: {{to: {to}}}}}]"
    router = {"routes": text.format(to="[ARCHIVE, AI]")}
    gateway = {**a_gateway(), "groups": ["gateway"], "reaches": {}, "routes": text.format(to="PACS")}

    assert problems(one=a_host(**router), edge={**gateway, **router}) == []
    [problem] = problems(one=a_host(**router), edge=gateway)
    assert "route 'gw' sends to PACS, which is not in gateway_destinations" in problem


def test_ports_that_are_switched_off_do_not_clash(problems: Any) -> None:
    ports = {"viewer": {"viewer_http_port": 0}, "orthanc": {"orthanc_http_port": 0}}

    assert problems(one=a_host(ports=ports)) == []


def test_a_service_without_those_it_needs_is_told(problems: Any) -> None:
    assert problems({"router": ["one"], "orthanc": ["one"], "databases": ["one"]}) == [
        "no role knows the group databases (did you mean database?)",
        "the group orthanc has hosts and the group database has none: the orthanc needs one",
        "the group router has hosts and the group database has none: the router needs one",
    ]


def test_groups_of_the_sites_own_are_its_own_business(problems: Any) -> None:
    assert problems({**GROUPS, "building_a": ["one"], "production": ["one"]}) == []


def test_a_host_that_looks_for_another_at_itself_is_told(problems: Any) -> None:
    groups = {**GROUPS, "orthanc": ["two"], "router": ["two"]}
    two = a_host(groups=["orthanc", "router"])

    [problem] = problems(groups, one=a_host(groups=["database"], reaches={}), two=two)

    assert problem == "two: database_host is 127.0.0.1, this host itself, and database is on one: say its address"


def test_two_orthancs_in_one_database_are_told(problems: Any) -> None:
    groups = {**GROUPS, "orthanc": ["one", "two"]}
    one, two = a_host(), a_host(groups=["orthanc"], reaches={})

    [problem] = problems(groups, one=one, two=two)

    assert "one and two keep their index in one database, orthanc at 127.0.0.1:5432" in problem
    assert problems(groups, one=one, two={**two, "index": "orthanc_two at 127.0.0.1:5432"}) == []


def test_a_viewer_without_dicomweb_is_told(problems: Any) -> None:
    [problem] = problems({**GROUPS, "viewer": ["one"]}, one=a_host(dicomweb=False))

    assert "Orthanc on one has no DICOMweb: set orthanc_dicomweb to true" in problem


def test_what_is_wrong_everywhere_is_told_once_and_else_by_host(problems: Any) -> None:
    wrong, sound = a_host(runtime="swarm", groups=[], reaches={}), a_host(groups=[], reaches={})

    [told] = problems(one=wrong, two=wrong, three=wrong)
    assert told == "there is no runtime swarm: set runtime to compose or systemd or supervisor"
    [problem] = problems(one=wrong, two=sound, three=wrong)
    assert problem.startswith("one, three: there is no runtime swarm")


def test_secrets_that_others_may_read_are_told(problems: Any, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    assert problems() == []

    folder.chmod(0o755)

    assert problems() == [f"others may look into {folder}: chmod -R go= {folder}"]


def test_a_runtime_whose_collection_the_controller_lacks_is_told(tmp_path: Path) -> None:
    hosts = {"one": {"runtime": "compose"}, "two": {"runtime": "systemd"}}

    [problem] = checks.collection_problems(hosts, [str(tmp_path)])
    assert problem.startswith("this controller lacks the collection community.docker: ")

    (tmp_path / "ansible_collections" / "community" / "docker").mkdir(parents=True)
    assert list(checks.collection_problems(hosts, [str(tmp_path)])) == []


def test_routes_that_are_no_routes_are_left_to_those_who_know_the_language() -> None:
    for text in ("[]", "routes: 5", "routes: [5, {action: 5}, {action: {to: null}}]"):
        assert list(checks.route_problems("routes.yml", text, {"PACS"})) == []
