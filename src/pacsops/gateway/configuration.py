"""gateway.yml: who may send to the gateway, and where it may send to.

::

    peers:
      - {aet: CT1, address: 10.1.2.0/24, associations: 4}
    destinations:
      PACS: {host: 10.1.2.3, port: 104, aet: PACS, verify: find}
      AI-1: {host: 10.9.0.11, port: 11112, aet: AI1}
    pools:
      AI: {members: [AI-1], timeout: 120}
    results:
      series_description: AI_RESULT
    private_sop_classes: true

Routes name destinations and pools. A changed file is taken up without a restart; an invalid one is refused with every
problem, and the last good one stays in force, also when the gateway restarts meanwhile.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from pacsops.delivery.model import Method
from pacsops.errors import GatewayConfigurationError
from pacsops.routes.blocks import kind
from pacsops.routes.document import compose
from pacsops.routes.fields import UnknownField, field_named
from pacsops.routes.problems import MAX_PROBLEMS, Problems, shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_AET: Final = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")
"""PS3.5 6.2: printable ASCII without the backslash; padding is not part of it."""
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A system that may send to the gateway."""

    aet: str
    address: Network | None = None
    """Where it has to come from; None: anywhere."""
    associations: int = 16
    """Open at a time, at most, with each receiver process."""

    def comes_from(self, address: str) -> bool:
        """Whether it may send from an address."""
        if self.address is None:
            return True
        try:
            said = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = said.ipv4_mapped if isinstance(said, ipaddress.IPv6Address) else None
        return (mapped or said) in self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A system the gateway may send to."""

    name: str
    host: str
    port: int
    aet: str
    tls: bool = False
    associations: int = 2
    """Deliveries sent at a time, each on an association of its own."""
    verify: Method = Method.NONE
    """How it is asked, after a delivery, whether it has the images: by C-FIND, or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Destinations that share one kind of work: a study goes to one of them."""

    name: str
    members: tuple[str, ...]
    timeout: float = 120.0
    """Seconds one of them has for its result before the study goes to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One accepted gateway.yml."""

    peers: tuple[Peer, ...] = ()
    """Empty: nobody may send."""
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    """What marks an AI result: field of routes.yml → the value it has. Empty: there are none."""
    private_sop_classes: bool = False
    """Whether instances of SOP classes that DICOM does not know are taken."""

    @property
    def names(self) -> frozenset[str]:
        """What routes may name."""
        return frozenset(self.destinations) | frozenset(self.pools)


def load(path: Path) -> Configuration:
    """The configuration of a file.

    Raises:
        GatewayConfigurationError: it is not there, no YAML, or says what cannot be; with every problem.
    """
    return parse(read(path), str(path))


def read(path: Path) -> str:
    """What a file says.

    Raises:
        GatewayConfigurationError: it is not there, cannot be read, or is no text.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayConfigurationError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}",
            hint="the deployment writes it: `ansible-playbook -i inventories/<site> site.yml`",
        ) from error


def parse(text: str, name: str = "gateway.yml") -> Configuration:
    """The configuration a text says; raises as `load`. `name` is for messages."""
    of_yaml = Problems(name)
    root = compose(text, of_yaml)
    problems = [f"line {problem.line}: {problem.message}" for problem in of_yaml.listed()]
    configuration = Configuration()
    if not problems:
        reading = _Reading()
        content = None if root is None else _plain(root)
        configuration = reading.configuration(content)
        problems = reading.problems
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
        raise GatewayConfigurationError(
            f"{name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:{listed}",
            hint="docs/gateway.md says what each key takes",
        )
    return configuration


def _plain(node: yaml.Node) -> object:
    """What a node says: mappings, lists, text, whole numbers, true, false, None. Whatever else it could be read as
    is text: PyYAML's own constructors raise what they like over a date or a tag that does not fit.
    """
    match node:
        case yaml.MappingNode():
            return {
                key.value if isinstance(key, yaml.ScalarNode) else kind(key): _plain(value)
                for key, value in node.value
            }
        case yaml.SequenceNode():
            return [_plain(one) for one in node.value]
    said = str(node.value)
    match kind(node):
        case "nothing":
            return None
        case "true or false":
            return yaml.SafeLoader.bool_values.get(said.lower(), said)
        case "a number" if _WHOLE.fullmatch(said):
            return int(said)
    return said


class _Reading:
    """Reads what is right and remembers what is not."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def configuration(self, content: object) -> Configuration:
        top = self._mapping("the file", content, {"peers", "destinations", "pools", "results", "private_sop_classes"})
        destinations = {
            name: destination
            for name, said in self._named("destinations", top.get("destinations"))
            if (destination := self._destination(name, said)) is not None
        }
        pools = {
            name: pool
            for name, said in self._named("pools", top.get("pools"))
            if (pool := self._pool(name, said, destinations)) is not None
        }
        for name in pools.keys() & destinations.keys():
            self.problems.append(f"pools.{name}: a destination has this name already")
        return Configuration(
            peers=tuple(self._peers(top.get("peers"))),
            destinations=destinations,
            pools=pools,
            results=self._results(top.get("results")),
            private_sop_classes=self._truth("private_sop_classes", top.get("private_sop_classes", False)),
        )

    def _peers(self, content: object) -> Iterator[Peer]:
        for number, said in enumerate(self._list("peers", content)):
            at = f"peers[{number}]"
            values = self._mapping(at, said, {"aet", "address", "associations"})
            aet = self._aet(at, values.get("aet"))
            address = self._network(at, values.get("address"))
            associations = self._number(f"{at}.associations", values.get("associations", 16), 1, 1000)
            if aet is not None:
                yield Peer(aet=aet, address=address, associations=associations)

    def _destination(self, name: str, content: object) -> Destination | None:
        at = f"destinations.{name}"
        values = self._mapping(at, content, {"host", "port", "aet", "tls", "associations", "verify"})
        aet = self._aet(at, values.get("aet"))
        host = values.get("host")
        if not isinstance(host, str) or not host.strip():
            self.problems.append(f"{at}.host: a host name or address is wanted")
        port = self._number(f"{at}.port", values.get("port"), 1, 65535)
        tls = self._truth(f"{at}.tls", values.get("tls", False))
        associations = self._number(f"{at}.associations", values.get("associations", 2), 1, 64)
        verify = self._method(f"{at}.verify", values.get("verify", "none"))
        if aet is None or not isinstance(host, str):
            return None
        return Destination(
            name=name, host=host.strip(), port=port, aet=aet, tls=tls, associations=associations, verify=verify
        )

    def _pool(self, name: str, content: object, destinations: Mapping[str, Destination]) -> Pool | None:
        at = f"pools.{name}"
        values = self._mapping(at, content, {"members", "timeout"})
        members = [member for member in self._list(f"{at}.members", values.get("members")) if isinstance(member, str)]
        if not members:
            self.problems.append(f"{at}.members: names of destinations are wanted")
        for member in members:
            if member not in destinations:
                self.problems.append(f"{at}.members: there is no destination {shown(member)}")
        timeout = self._number(f"{at}.timeout", values.get("timeout", 120), 1, 86400)
        return Pool(name=name, members=tuple(members), timeout=float(timeout))

    def _results(self, content: object) -> Mapping[str, str]:
        values = self._mapping("results", {} if content is None else content, None)
        wrong = [key for key, value in values.items() if not isinstance(value, str)]
        self.problems.extend(f"results.{shown(key)}: text is wanted" for key in wrong)
        for key in values:
            try:
                field_named(key)
            except UnknownField as error:
                self.problems.append(f"results.{shown(key)} {error}")
        return {key: value for key, value in values.items() if isinstance(value, str)}

    def _mapping(self, at: str, content: object, keys: set[str] | None) -> dict[str, Any]:
        if not isinstance(content, dict):
            self.problems.append(f"{at}: a mapping is wanted")
            return {}
        unknown = [key for key in content if keys is not None and key not in keys]
        self.problems.extend(
            f"{at}: unknown key {shown(key)}; there are {', '.join(sorted(keys or ()))}" for key in unknown
        )
        return content

    def _named(self, at: str, content: object) -> Iterator[tuple[str, object]]:
        for name, said in self._mapping(at, {} if content is None else content, None).items():
            if _NAME.fullmatch(name):
                yield name, said
            else:
                self.problems.append(f"{at}: {shown(name)} is no name: letters, digits, _ and -, 64 at most")

    def _list(self, at: str, content: object) -> list[Any]:
        if content is None:
            return []
        if not isinstance(content, list):
            self.problems.append(f"{at}: a list is wanted")
            return []
        return content

    def _aet(self, at: str, value: object) -> str | None:
        if isinstance(value, str) and _AET.fullmatch(value):
            return value
        self.problems.append(f"{at}.aet: an AE title is wanted, 1 to 16 characters")
        return None

    def _method(self, at: str, value: object) -> Method:
        if isinstance(value, str) and value in (Method.NONE, Method.FIND):
            return Method(value)
        why = ": the gateway asks by C-FIND alone" if value == Method.STORAGE_COMMITMENT else ""
        self.problems.append(f"{at}: find or none is wanted, not {value!r}{why}")
        return Method.NONE

    def _network(self, at: str, value: object) -> Network | None:
        if value is None:
            return None
        try:
            return ipaddress.ip_network(str(value))
        except ValueError as error:
            self.problems.append(f"{at}.address: {error}")
            return None

    def _truth(self, at: str, value: object) -> bool:
        if not isinstance(value, bool):
            self.problems.append(f"{at}: true or false is wanted")
        return value is True

    def _number(self, at: str, value: object, least: int, most: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.problems.append(f"{at}: a number from {least} to {most} is wanted")
        return least


if __name__ == "__main__":  # a deployment asks whether a file is fit, before it puts it in place
    try:
        load(Path(sys.argv[1]))
    except GatewayConfigurationError as unfit:
        sys.exit(f"Error: {unfit}")
