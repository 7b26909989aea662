"""The example sites and the pipelines: what is copied from here works."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ansible.conftest import CHECKOUT

from pacsops.routes.loader import read_routes

VENV = CHECKOUT / ".venv" / "bin"
SITES = sorted(path.name for path in (CHECKOUT / "inventories").iterdir())
EXAMPLES = [site for site in SITES if site.startswith("example_")]
PIPELINES = sorted((CHECKOUT / "docs" / "pipelines").glob("*.yml"))
DOCUMENTATION = [ipaddress.ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


def ansible(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(VENV / program), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False)


def preflight(inventory: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Only what the inventory says: no host is touched."""
    said = json.dumps({"preflight_hosts": False, **variables})
    return ansible("ansible-playbook", "-i", str(inventory), "playbooks/preflight.yml", "-e", said)


@pytest.mark.parametrize("site", SITES)
def test_a_site_passes_what_can_be_seen_without_its_hosts(site: str) -> None:
    inventory = CHECKOUT / "inventories" / site
    there = sorted(inventory.rglob("*"))

    assert ansible("ansible-playbook", "-i", str(inventory), "site.yml", "--syntax-check").returncode == 0
    looked = preflight(inventory)

    assert looked.returncode == 0, looked.stdout
    assert "changed=0" in looked.stdout
    assert sorted(inventory.rglob("*")) == there, "nobody made a secret"


@pytest.mark.parametrize("site", EXAMPLES)
def test_an_example_names_no_machine_that_exists_and_routes_to_what_it_lists(site: str) -> None:
    inventory = CHECKOUT / "inventories" / site
    listed = json.loads(ansible("ansible-inventory", "-i", str(inventory), "--list").stdout)
    hosts = listed["_meta"]["hostvars"].values()
    modalities = [modality for host in hosts for modality in host["orthanc_modalities"]]

    gateways = [host for host in hosts if "gateway_destinations" in host]
    of_gateways = {name: to for host in gateways for name, to in host["gateway_destinations"].items()}
    pools = {name for host in gateways for name in host["gateway_pools"]}

    addresses = {host["ansible_host"] for host in hosts}
    addresses |= {peer["host"] for peer in (*modalities, *of_gateways.values())}
    for address in addresses - {"orthanc", "gateway"}:  # containers of one host
        assert any(ipaddress.ip_address(address) in network for network in DOCUMENTATION), address
    assert all(host["ansible_become"] is True for host in hosts)
    assert read_routes(
        inventory / "files" / "routes.yml",
        destinations={each["name"] for each in modalities},
        gateway_destinations={*of_gateways, *pools},
    ).routes


def test_an_operator_reads_all_that_is_wrong_with_an_inventory_at_once(tmp_path: Path) -> None:
    inventory = tmp_path / "hospital"
    shutil.copytree(CHECKOUT / "inventories" / "example_hospital", inventory)
    with (inventory / "group_vars" / "all" / "vars.yml").open("a") as file:
        file.write('orthanc_htp_port: 8042\northanc_password: "four"\ndatabase_admin_password: secret-of-old\n')
    hosts = inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("    router:", "    routers:"))
    destinations = inventory / "group_vars" / "all" / "destinations.yml"
    destinations.write_text(destinations.read_text().replace("aet: PACS_MAIN", "aet: PACS_OF_THE_MAIN_BUILDING"))

    refused = preflight(inventory)

    assert refused.returncode != 0
    told = refused.stdout.partition("fatal: ")[2]  # Ansible says it twice
    for words in (
        "no role knows the group routers (did you mean router?)",
        "no role knows the variable orthanc_htp_port (did you mean orthanc_http_port?)",
        "database_admin_password is no variable any more",
        "orthanc_password must be 8 or more",
        "orthanc1: the AE title of PACS, PACS_OF_THE_MAIN_BUILDING, has 25 characters",
    ):
        assert told.count(words) == 1, refused.stdout
    assert "secret-of-old" not in refused.stdout


def test_hosts_that_cannot_be_reached_are_told_with_the_rest(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    nobody = {"ansible_host": "127.0.0.1", "ansible_port": 1}  # refuses at once
    groups = {group: {"hosts": {"here": None}} for group in ("database", "orthanc", "router")}
    site = {"all": {"hosts": {"here": nobody}, "vars": {"orthanc_htp_port": 1}, "children": groups}}
    inventory.write_text(yaml.safe_dump(site))

    refused = preflight(inventory, preflight_hosts=True)

    assert refused.returncode != 0
    assert "did you mean orthanc_http_port?" in refused.stdout
    assert re.search(r"here\n\s+- it cannot be looked at: .*Connection refused", refused.stdout), refused.stdout


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.stem)
def test_every_command_of_a_pipeline_exists(pipeline: Path) -> None:
    document = yaml.safe_load(pipeline.read_text())
    commands = "\n".join(scripts(document)).replace("${", "$")
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    told = "\n".join(f"{name}={value}" for name, value in (document.get("env") or document["variables"]).items())

    plays = re.findall(r"ansible-playbook -i \S+ (\S+)", commands)
    assert {"site.yml", "playbooks/preflight.yml", "playbooks/doctor.yml"} == set(plays)
    assert all((CHECKOUT / play).is_file() for play in plays)
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= targets
    assert all((VENV / program).exists() for program in re.findall(r"\.venv/bin/([\w-]+)", commands))
    sites = re.findall(r"example_\w+", told)
    assert sites
    assert set(sites) <= set(EXAMPLES)
    done = subprocess.run(["bash", "-n"], input=commands, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_examines_each_site_after_it_deployed_it_and_before_the_next(pipeline: Path) -> None:
    document = yaml.safe_load(pipeline.read_text())
    jobs = document.get("jobs", document)

    for name in ("staging", "canary", "others"):
        plays = re.findall(r"ansible-playbook -i (\S+) (\S+)", "\n".join(scripts(jobs[name])))
        assert [play for _, play in plays] == ["site.yml", "playbooks/doctor.yml"], name
        assert plays[0][0] == plays[1][0]
    if "jobs" in document:
        assert [jobs[name]["needs"] for name in ("staging", "canary", "others")] == ["lint", "staging", "canary"]
    else:
        order = document["stages"]
        assert [order.index(jobs[name]["stage"]) for name in ("lint", "staging", "canary", "others")] == [0, 2, 3, 4]


def scripts(node: Any) -> list[str]:
    """Every command of a pipeline, in order: GitHub's `run`, GitLab's `script` and `before_script`."""
    if isinstance(node, list):
        return [command for each in node for command in scripts(each)]
    if not isinstance(node, dict):
        return []
    found: list[str] = []
    for key, value in node.items():
        if key in {"run", "script", "before_script"} and isinstance(value, str | list):
            found += [value] if isinstance(value, str) else value
        else:
            found += scripts(value)
    return found
