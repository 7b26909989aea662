"""The services of this host, as the deployment wrote them down (templates/services.json.j2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pacsops.errors import HostNotDescribed, UnknownService

RuntimeKind = Literal["compose", "systemd", "supervisor"]
LogFormat = Literal["logfmt", "orthanc", "postgresql", "nginx", "text"]

_DEPLOY = "`ansible-playbook -i inventories/<site> site.yml` writes it; SERVICES_FILE in the .env names another one"


@dataclass(frozen=True, slots=True)
class Health:
    """How to tell that a service serves: one of a command that ends with 0, a URL that answers, a TCP port."""

    command: tuple[str, ...] = ()
    url: str = ""
    login: bool = False
    """The URL wants Orthanc's user and password."""
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """One service of this host."""

    name: str
    title: str
    unit: str
    """What the runtime calls it."""
    after: tuple[str, ...]
    """The services of this host that it needs, by name."""
    without: str
    """What does not work while it is stopped, in a sentence."""
    log: LogFormat
    log_file: Path | None
    """Where supervisor writes what it says; rotated as .1, .2, …"""
    health: Health
    stop_seconds: int


@dataclass(frozen=True, slots=True)
class Host:
    """Every service of this host, in the order of starting."""

    runtime: RuntimeKind
    control: tuple[str, ...]
    """The runtime's own program, and the arguments that lead it to this site."""
    begin: tuple[str, ...]
    """Starts the runtime where it is the site's own, with all its services; empty where the system sees to that."""
    start_seconds: int
    """What a service has to become healthy."""
    services: Mapping[str, Service]
    command: str
    """How this site's `orthanc` is called by another user, such as root."""

    def named(self, wanted: Iterable[str]) -> list[Service]:
        """These services, by name or title in either case, in the order of starting; all of them for none.

        Raises:
            UnknownService: this host does not run one of them.
        """
        known = {service.title.casefold(): service for service in self.services.values()}
        known |= {name.casefold(): service for name, service in self.services.items()}
        chosen = set()
        for word in wanted:
            if word.casefold() not in known:
                raise UnknownService(
                    f"this host runs no service {word!r}", hint=f"it runs {', '.join(self.services) or 'none'}"
                )
            chosen.add(known[word.casefold()].name)
        return [service for name, service in self.services.items() if name in chosen or not chosen]

    def with_needs(self, services: Iterable[Service]) -> list[Service]:
        """These and every service of this host that they need, in the order of starting."""
        wanted: set[str] = set()
        queue = [service.name for service in services]
        while queue:
            name = queue.pop()
            if name in self.services and name not in wanted:
                wanted.add(name)
                queue += self.services[name].after
        return [service for name, service in self.services.items() if name in wanted]

    @classmethod
    def of(cls, document: Mapping[str, Any], command: str) -> Self:
        """From services.json, whose first entry is started first."""
        return cls(
            runtime=document["runtime"],
            control=tuple(document["control"]),
            begin=tuple(document["begin"]),
            start_seconds=int(document["start_seconds"]),
            services={entry["name"]: _service(entry) for entry in document["services"]},
            command=command,
        )


def read_host(path: Path) -> Host:
    """
    Raises:
        HostNotDescribed: there is no such file, or it is not one that this version understands.
    """
    ours = path.parent.parent / "bin" / "orthanc"
    try:
        return Host.of(json.loads(path.read_text("utf-8")), str(ours) if ours.exists() else "orthanc")
    except OSError as error:
        raise HostNotDescribed(
            f"which services run on this host is not known: {path}: {error.strerror}", hint=_DEPLOY
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostNotDescribed(
            f"{path} does not describe this host's services: {type(error).__name__} {error}", hint=_DEPLOY
        ) from error


def _service(entry: Mapping[str, Any]) -> Service:
    health = entry["health"]
    return Service(
        name=entry["name"],
        title=entry["title"],
        unit=entry["unit"],
        after=tuple(entry["after"]),
        without=entry["without"],
        log=entry["log"],
        log_file=Path(entry["log_file"]) if entry["log_file"] else None,
        health=Health(
            command=tuple(health.get("command", ())),
            url=health.get("url", ""),
            login=bool(health.get("login")),
            host=health.get("host", "127.0.0.1"),
            port=int(health.get("port", 0)),
        ),
        stop_seconds=int(entry["stop_seconds"]),
    )
