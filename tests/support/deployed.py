"""A site that was deployed on test hosts: what can be seen of it from its hosts, by its operators and neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.host import Host

MOLECULE = Path(__file__).parents[2] / "molecule"

SERVICES = {
    "database": "postgres",
    "orthanc": "orthanc",
    "router": "router",
    "viewer": "viewer",
    "gateway": "gateway",
}
"""Inventory group: the service its hosts run."""


@dataclass(frozen=True, slots=True)
class SiteHost:
    """One host of the site. `is_alone`: it is the whole site."""

    name: str
    runtime: str
    groups: frozenset[str]
    is_alone: bool
    machine: Host

    @property
    def services(self) -> set[str]:
        """What it is to run, by the catalogue's names."""
        return {SERVICES[group] for group in self.groups if group in SERVICES}

    def says(self, command: str) -> str:
        """What a command prints there. AssertionError when it fails."""
        return str(self.machine.check_output(command))

    def answers(self, **commands: str) -> str:
        """What the command for its runtime prints: answers(systemd="systemctl …", compose="docker …")."""
        return self.says(commands[self.runtime])

    def process_of(self, service: str) -> int:
        """The process that systemd or Docker holds for the service."""
        return int(
            self.answers(
                systemd=f"systemctl show --property=MainPID --value pacsops-{service}.service",
                compose=f"docker inspect --format='{{{{.State.Pid}}}}' pacsops-{service}-1",
            )
        )


@dataclass(frozen=True, slots=True)
class Site:
    """The site as a whole."""

    hosts: list[SiteHost]
    seat: Host
    """The host where operators sit."""
    modlink: Host
    """The system at the other end of the site's one route."""
    secrets: dict[str, str] = field(repr=False)
    """Name and value of every password."""
    former_secrets: dict[str, str] = field(repr=False)
    """Those of before they were renewed."""
    authority: Path
    """The certificate of the site's own authority."""
    has_backups: bool
    """Whether its inventory says where to."""
    run_log: Path
    """What deploying it has printed, where `make acceptance` did."""

    def orthanc(self, *words: str) -> dict[str, Any]:
        """What the `orthanc` command answers with --json, whatever its exit code."""
        asked = self.seat.run(" ".join(["/opt/orthanc/bin/orthanc", *words, "--json"]))
        answer: dict[str, Any] = json.loads(asked.stdout)
        return answer

    def delivery_of(self, study: str) -> dict[str, Any]:
        """The only delivery of a study, {} while there is none."""
        deliveries = self.orthanc("history", study).get("deliveries", [])
        assert len(deliveries) <= 1
        return dict(deliveries[0]) if deliveries else {}

    def scan(self, accession: str, *, through: str = "orthanc") -> set[str]:
        """A scanner sends a study of that accession number, to that service; its SOP instance UIDs."""
        receiver = self.with_service(through).name
        scanner = [sys.executable, str(MOLECULE / "shared" / "scanner.py"), receiver, accession, through]
        return set(subprocess.run(scanner, check=True, capture_output=True, text=True, timeout=60).stdout.split())

    def arrived(self) -> set[str]:
        """SOP instance UIDs that MODLINK keeps: storescp names its files MODALITY.UID."""
        return {name.partition(".")[2] for name in self.modlink.file("/received").listdir()}

    def with_service(self, service: str) -> SiteHost:
        """The host that runs it."""
        return next(host for host in self.hosts if service in host.services)

    def secrets_in(self, text: str) -> list[str]:
        """Names of the passwords that a text gives away."""
        known = [*self.secrets.items(), *self.former_secrets.items()]
        return [name for name, value in known if value in text]


def site_of(scenario: str) -> Site:
    """The site that molecule deployed for a scenario; its hosts are containers, by the inventory's names."""
    said = yaml.safe_load((MOLECULE / scenario / "inventory" / "hosts.yml").read_text())["all"]
    members = {group: set(content.get("hosts", {})) for group, content in said["children"].items()}
    hosts = [
        SiteHost(
            name=name,
            runtime=said["vars"]["runtime"],
            groups=frozenset(group for group, names in members.items() if name in names),
            is_alone=len(said["hosts"]) == 1,
            machine=_container(name),
        )
        for name in said["hosts"]
    ]
    results = MOLECULE.parent / "build" / "acceptance"
    secrets = results / scenario / "secrets"
    return Site(
        hosts=hosts,
        seat=_container(min(members.get("monitoring") or members["router"])),
        modlink=_container(f"pacsops-{scenario}-modlink"),
        secrets=_passwords(secrets),
        former_secrets=_passwords(secrets.with_name("secrets.before")),
        authority=secrets / "ca" / "ca.crt",
        has_backups="backup_repository" in said["vars"],
        run_log=results / f"{scenario}.log",
    )


def _passwords(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().split()[0] for path in folder.glob("*") if path.is_file()}


def _container(name: str) -> Host:
    return testinfra.get_host(f"docker://{name}")
