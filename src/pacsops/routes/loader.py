"""routes.yml → RouteTable, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from pacsops.routes.blocks import Block, Entry, Report, is_mapping, is_sequence, kind, report_of, start
from pacsops.routes.conditions import (
    NAMES,
    OF_ONE_TEXT,
    OF_SEVERAL_TEXTS,
    Condition,
    Equals,
    In,
    PatternRefused,
    unpadded,
)
from pacsops.routes.document import MAX_BYTES, compose
from pacsops.routes.fields import COMMON, UnknownField, field_named
from pacsops.routes.model import MANUAL, FieldMatch, RetryPolicy, Route, Send, Source, When
from pacsops.routes.problems import Position, Problems, shown
from pacsops.routes.table import RouteTable, report_unknown_destination

ROUTE_KEYS = (
    "name",
    "description",
    "enabled",
    "source",
    "when",
    "priority",
    "match",
    "action",
    "retry",
    "deliver_within",
    "final",
    "send_back",
)
MAX_ROUTE_NAME = 128
MAX_DESTINATION_NAME = 64
"""Characters; the widths of routing_state's columns."""
MAX_PATTERN = 1000
"""Characters of a regular expression."""
LONGEST_DELIVERY = "30d"
EMPTY = "the file is empty; to route nothing write `routes: []`"
MATCH_EVERYTHING = 'match: {modality: {matches: ".*"}}'

_Destinations = Mapping[Source, Collection[str] | None]
"""What routes of each source may name; None: not known."""


def read_routes(
    path: Path,
    *,
    destinations: Collection[str] | None = None,
    gateway_destinations: Collection[str] | None = None,
) -> RouteTable:
    """Load the routes.yml at `path`; see `load_routes`.

    Raises:
        RoutesInvalid: also when it cannot be read, is larger than 1 MiB or is not UTF-8.
    """
    problems = Problems(str(path))
    try:
        # A FIFO or a device would block or never end.
        if path.exists() and not path.is_file():
            problems.add(Position(1, 1), "this is not a regular file")
            raise problems.refuse()
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        problems.add(Position(1, 1), f"the file cannot be read: {error.strerror or error}")
        raise problems.refuse() from error
    except ValueError as error:
        problems.add(Position(1, 1), f"no file can have this name: {error}")
        raise problems.refuse() from error
    if len(content) > MAX_BYTES:
        problems.add(Position(1, 1), f"the file is larger than {MAX_BYTES} bytes")
        raise problems.refuse()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        at = Position(content.count(b"\n", 0, error.start) + 1, 1)
        problems.add(at, f"the file is not UTF-8 text (byte 0x{content[error.start]:02x})")
        raise problems.refuse() from error
    return load_routes(text, name=str(path), destinations=destinations, gateway_destinations=gateway_destinations)


def load_routes(
    text: str,
    *,
    name: str = "routes.yml",
    destinations: Collection[str] | None = None,
    gateway_destinations: Collection[str] | None = None,
) -> RouteTable:
    """Load routes from `text`; `name` is what problems call the file.

    With `destinations` (for routes of what Orthanc receives) and `gateway_destinations` (for those of the gateway), a
    route that names any other is a problem too.

    Raises:
        RoutesInvalid: for whatever text; with every problem at once.
    """
    problems = Problems(name)
    root = compose(text, problems)
    if root is None and not problems:
        problems.add(Position(1, 1), EMPTY)
    known = {Source.ORTHANC: destinations, Source.GATEWAY: gateway_destinations}
    routes = _routes(root, problems, known) if root is not None else []
    if problems:
        raise problems.refuse()
    return RouteTable(routes, text, name)


def _routes(root: yaml.Node, problems: Problems, destinations: _Destinations) -> list[Route]:
    report = report_of(problems, None)
    if not is_mapping(root):
        if kind(root) == "nothing":
            report(start(root), EMPTY)
        else:
            report(start(root), f"the file is {kind(root)}, expected `routes:` with a list under it")
        return []
    node = Block(root, report, ("routes",)).require("routes", "to route nothing write `routes: []`")
    if node is None:
        return []
    if not is_sequence(node):
        report(start(node), f"`routes` is {kind(node)}, expected a list; to route nothing write `routes: []`")
        return []
    routes: list[Route] = []
    lines: dict[str, int] = {}
    for item in node.value:
        if not is_mapping(item):
            report(start(item), f"a route is {kind(item)}, expected keys such as name, match and action")
            continue
        name = _name_of(item)
        of_route = report_of(problems, name)
        if name is not None and name in lines:
            of_route(start(item), f"the name is taken by the route in line {lines[name]}; names are unique")
        elif name == MANUAL:
            of_route(start(item), f"the name {MANUAL} is that of what `orthanc send` sends; choose another")
        elif name is not None:
            lines[name] = start(item).line
        routes.append(_Reader(problems, of_route, name, destinations).route(item))
    return routes


def _name_of(route: yaml.Node) -> str | None:
    """The route's name, looked up before anything is checked, so that every problem can say whose it is."""
    for key, value in route.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "name":
            usable = isinstance(value, yaml.ScalarNode) and kind(value) == "text"
            usable = usable and 0 < len(value.value) <= MAX_ROUTE_NAME and value.value.isprintable()
            return str(value.value) if usable else None
    return None


class _Reader:
    """Reads one route. Where something is wrong it reports, and goes on with a default."""

    def __init__(self, problems: Problems, report: Report, name: str | None, destinations: _Destinations) -> None:
        self._problems = problems
        self._report = report
        self._name = name
        self._destinations = destinations

    def route(self, node: yaml.Node) -> Route:
        block = Block(node, self._report, ROUTE_KEYS)
        name = block.require("name", "every route has a name of its own")
        if name is not None and self._name is None:
            self._report(
                start(name),
                f"`name` is not usable: {kind(name)}",
                allowed=_usable(MAX_ROUTE_NAME),
            )
        description = block.text("description", "")
        source = block.choice("source", Source.ORTHANC)
        when = self._when(block, source)
        match = self._match(block)
        send, to = self._action(block, self._destinations[source])
        return Route(
            name=self._name or "",
            description=description,
            enabled=block.boolean("enabled", True),
            source=source,
            when=when,
            priority=block.whole_number("priority", 100, -1_000_000, 1_000_000),
            match=match,
            send=send,
            destinations=tuple(destination for destination, _ in to),
            destination_positions=tuple(at for _, at in to),
            retry=self._retry(block),
            deliver_within=block.duration("deliver_within", LONGEST_DELIVERY),
            final=block.boolean("final", False),
            send_back=block.boolean("send_back", False),
            line=block.at.line,
        )

    def _when(self, route: Block, source: Source) -> When:
        entry = route.entries.get("when")
        if entry is not None and source is not Source.GATEWAY:
            self._report(
                entry.at, "`when` is for routes of `source: gateway`; Orthanc's are asked about whole studies"
            )
        return route.choice("when", When.INSTANCE)

    def _match(self, route: Block) -> tuple[FieldMatch, ...]:
        node = route.require("match", f"to match every image write `{MATCH_EVERYTHING}`")
        if node is None:
            return ()
        if kind(node) == "nothing" or (is_mapping(node) and not node.value):
            # Empty is more often a slip than a wish, and would send everything.
            self._report(start(node), f"`match` is empty; to match every image write `{MATCH_EVERYTHING}`")
            return ()
        match = route.block("match", None)
        if match is None:
            return ()
        fields: list[FieldMatch] = []
        first_named: dict[str | None, Entry] = {}
        for name, entry in match.entries.items():
            try:
                field = field_named(name)
            except UnknownField as error:
                self._report(
                    entry.at,
                    f"the field {shown(name)} {error}",
                    allowed=f"{', '.join(COMMON)}, or a DICOM keyword such as BodyPartExamined"
                    if error.candidates
                    else None,
                    misspelt=name if error.candidates else None,
                    candidates=error.candidates,
                )
            else:
                first = first_named.setdefault(field.keyword, entry)
                if first is not entry:
                    self._report(entry.at, f"{shown(name)} is the field of line {first.at.line} in another spelling")
                fields.append(FieldMatch(field, self._conditions(name, entry.node)))
        return tuple(fields)

    def _conditions(self, field: str, node: yaml.Node) -> tuple[Condition, ...]:
        if is_sequence(node):
            return (In(self._texts(field, node)),)
        if not is_mapping(node):
            text = self._text(field, node)
            return (Equals(text),) if text is not None else ()
        conditions: list[Condition] = []
        block = Block(node, self._report, NAMES)
        if not node.value:
            self._report(start(node), f"`{field}` has no condition", allowed=", ".join(NAMES))
        for name, entry in block.entries.items():
            if name in OF_SEVERAL_TEXTS:
                conditions.append(OF_SEVERAL_TEXTS[name](self._texts(name, entry.node)))
                continue
            text = self._text(name, entry.node)
            if text is None:
                continue
            if name == "matches" and len(text) > MAX_PATTERN:
                self._report(start(entry.node), f"the pattern is longer than {MAX_PATTERN} characters")
                continue
            try:
                conditions.append(OF_ONE_TEXT[name](text))
            except PatternRefused as refusal:
                self._report(start(entry.node), f"the pattern {shown(text)} cannot be used: {refusal}")
        return tuple(conditions)

    def _text(self, what: str, node: yaml.Node) -> str | None:
        """What a condition compares with. Numbers count as written; YAML's true and null rarely mean to be."""
        found = kind(node)
        if found == "a list":
            self._report(start(node), f"`{what}` takes one value, not a list; for one of several write `in`")
        elif found == "nothing":
            self._report(start(node), f"`{what}` has no value")
        elif found == "true or false":
            self._report(
                start(node), f'YAML reads {node.value} as true or false; if text is meant, write "{node.value}"'
            )
        elif not isinstance(node, yaml.ScalarNode) or found not in {"text", "a number", "a date"}:
            self._report(start(node), f"`{what}` is {found}, expected text")
        # Padding alone can only be searched for: values are compared without it.
        elif not (node.value if what in {"contains", "not_contains", "matches"} else unpadded(node.value)):
            self._report(start(node), f"`{what}` compares with an empty text")
        else:
            return str(node.value)
        return None

    def _texts(self, what: str, node: yaml.Node) -> tuple[str, ...]:
        if not is_sequence(node):
            self._report(start(node), f"`{what}` is {kind(node)}, expected a list: [CT, MR]")
            return ()
        if not node.value:
            self._report(start(node), f"`{what}` is an empty list")
        texts = (self._text(f"an entry of {what}", item) for item in node.value)
        return tuple(text for text in texts if text is not None)

    def _action(self, route: Block, known: Collection[str] | None) -> tuple[Send, list[tuple[str, Position]]]:
        if route.require("action", "write `action:` and under it `to:` with a destination") is None:
            return Send.STUDY, []
        action = route.block("action", ("send", "to"))
        if action is None:
            return Send.STUDY, []
        send = action.choice("send", Send.STUDY)
        node = action.require("to", "name a destination or a list of them")
        if node is None:
            return send, []
        if is_sequence(node) and not node.value:
            self._report(start(node), "`to` is an empty list; name at least one destination")
            return send, []
        to: dict[str, Position] = {}
        for item in node.value if is_sequence(node) else [node]:
            destination = self._destination(item, known)
            if destination is None:
                continue
            if destination in to:
                self._report(start(item), f"the destination {shown(destination)} is given twice")
            to[destination] = start(item)
        return send, list(to.items())

    def _destination(self, node: yaml.Node, known: Collection[str] | None) -> str | None:
        usable = isinstance(node, yaml.ScalarNode) and kind(node) == "text"
        if not (usable and 0 < len(node.value) <= MAX_DESTINATION_NAME and node.value.isprintable()):
            self._report(
                start(node),
                f"`to` holds {kind(node)} that cannot be a destination",
                allowed=_usable(MAX_DESTINATION_NAME),
            )
            return None
        name = str(node.value)
        if known is not None:
            report_unknown_destination(self._problems, self._name, name, start(node), known)
        return name

    def _retry(self, route: Block) -> RetryPolicy:
        default = RetryPolicy()
        retry = route.block("retry", ("max_attempts", "backoff", "initial_delay"))
        if retry is None:
            return default
        return RetryPolicy(
            max_attempts=retry.whole_number("max_attempts", default.max_attempts, 1, 100),
            backoff=retry.choice("backoff", default.backoff),
            initial_delay=retry.seconds("initial_delay", default.initial_delay, 0, 86_400),
        )


def _usable(longest: int) -> str:
    return f"1 to {longest} printable characters; what YAML reads as a number or as true or false, in quotes"
