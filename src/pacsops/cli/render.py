"""How a page looks: title, rule, sections, tables, and the next commands at its end.

Data goes to stdout, hints and progress to stderr. On a terminal a page fits the terminal's width; in a pipe
nothing is coloured, wrapped or shortened, so that grep and awk see whole identifiers.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pacsops.errors import NothingToDo, PacsopsError
from pacsops.words import ago, count, deliveries, lasting, moment, now, size, soon, studies, timestamp

__all__ = [
    "SCHEMA_VERSION",
    "Page",
    "ago",
    "count",
    "deliveries",
    "lasting",
    "mark",
    "moment",
    "now",
    "printable",
    "show_error",
    "size",
    "soon",
    "studies",
    "timestamp",
    "to_type",
    "warn",
    "write_json",
]

SCHEMA_VERSION = 1
"""Of every --json answer. Keys may be added within a version, never renamed or removed."""

_RULE_WIDTH = 78
_UNLIMITED = 10_000  # columns: what a pipe has
_WIDE = 110  # columns: room for a table with prose in it
_LEAST_WIDTH = 8  # columns a cell keeps
_LONGEST_TO_TYPE = 16  # characters: an accession number (PS3.5 6.2, SH)
_SHORT_ID = 13  # the first two groups of an Orthanc identifier: 48 bits of its SHA-1
# C0, DEL, C1 (CSI is U+009B) and the bidirectional overrides: DICOM text comes from strangers.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_STYLES = {"✅": "green", "❌": "red", "⚠": "yellow", "⏳": "yellow", "🚫": "dim", "⏭": "dim"}


def printable(text: object) -> str:
    """`text` without what could steer a terminal; a tab becomes a space, each other such character U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(text).replace("\t", " "))


def write_json(payload: Mapping[str, Any]) -> None:
    """One JSON object on stdout, with its schema_version; times are ISO 8601 in UTC."""
    _write(payload, indent=2)


def write_json_line(payload: Mapping[str, Any]) -> None:
    """The same in one line, for answers that never end: one object a line."""
    _write(payload, indent=None)


def _write(payload: Mapping[str, Any], *, indent: int | None) -> None:
    document = json.dumps(
        {"schema_version": SCHEMA_VERSION, **payload}, default=_jsonable, ensure_ascii=False, indent=indent
    )
    # JSON leaves DEL and C1 as they are, a terminal does not.
    sys.stdout.write(re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", document) + "\n")


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def to_type(study_id: str, said: str | None = None) -> str:
    """A study in a suggested command: as the operator `said` it, where that is short, else the first characters of
    its Orthanc identifier."""
    # An accession number of digits alone may also be a delivery's number.
    short = said and len(said) <= _LONGEST_TO_TYPE and not said.isdigit()
    return shlex.quote(said) if said and short else study_id[:_SHORT_ID]


class Page:
    """What one command prints, in order. Every text passes `printable`."""

    def __init__(self, file: TextIO | None = None, *, stderr: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(file=file, stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self._console.is_terminal:
            self._console.width = _UNLIMITED

    @property
    def shortens(self) -> bool:
        """True on a terminal, where identifiers are cut to a prefix every command takes back."""
        return self._console.is_terminal

    def study(self, study_id: str) -> str:
        """An Orthanc identifier as this page shows it."""
        return study_id[:_SHORT_ID] if self.shortens else study_id

    def title(self, sign: str, text: str) -> None:
        self._print(Text(f"{mark(sign)}{printable(text)}", style="bold"))
        self.rule()

    def rule(self) -> None:
        self._print(Text("━" * min(_RULE_WIDTH, self._console.width), style="dim"))

    def section(self, name: str) -> None:
        self._print(Text(""))
        self._print(Text(printable(name), style="bold"))

    def blank(self) -> None:
        self._print(Text(""))

    def line(self, text: str, sign: str = "", *, indent: int = 2, style: str = "") -> None:
        """One paragraph; a sign before it is followed by text that stays clear of it when wrapped."""
        if not sign:
            self._print(Padding(Text(printable(text), style=style), (0, 0, 0, indent), expand=False))
            return
        self._grid([(mark(sign), printable(text))], indent, [_STYLES.get(sign, ""), style], gap=0)

    def facts(self, pairs: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
        """Labels and values, values aligned."""
        self._grid([(f"{label}:", printable(value)) for label, value in pairs], indent, ["", ""], gap=2)

    def side_by_side(self, *columns: tuple[str, Sequence[tuple[str, str]]]) -> None:
        """Sections of labels and values next to each other."""
        outer = Table.grid(padding=(0, 4, 0, 0))
        cells = []
        for heading, rows in columns:
            outer.add_column()
            inner = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
            for label, value in rows:
                cell = Text(printable(value), style=_STYLES.get(value[:1], ""))
                inner.add_row(f"  {printable(label)}", cell)
            cells.append(Group(Text(heading, style="bold"), inner))
        outer.add_row(*cells)
        self._print(outer)

    def table(
        self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = (), indent: int = 0
    ) -> None:
        """Columns under their headers; those named in `whole` never wrap. A sign that starts a cell colours it."""
        lines = [[printable(cell) for cell in row] for row in rows]
        # Rich takes the room of a column without text from its neighbour.
        kept = [i for i, header in enumerate(headers) if header or any(cells[i] for cells in lines)]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(headers))
        for i in kept:
            table.add_column(headers[i], no_wrap=headers[i] in whole or not self.shortens, overflow="fold")
        for line in lines:
            cells = [line[i] for i in kept]
            table.add_row(*(Text(cell, style=_STYLES.get(cell[:1], "")) for cell in cells))
        self._print(Padding(table, (0, 0, 0, indent), expand=False))

    def records(
        self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str], indent: int = 0
    ) -> None:
        """A table whose last column is prose: on a narrow terminal it stands below its row."""
        rows = [[printable(cell) for cell in row] for row in rows]
        if not self.shortens or self._console.width >= _WIDE:
            self.table(headers, rows, whole=whole, indent=indent)
            return
        *heads, _ = headers
        widths = [max(cell_len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
        flexible = [i for i, head in enumerate(heads) if head not in whole]
        room = self._console.width - indent - 2 * (len(heads) - 1)
        while sum(widths) > room and max((widths[i] for i in flexible), default=0) > _LEAST_WIDTH:
            widths[max(flexible, key=lambda i: widths[i])] -= 1
        for cells in [headers, *rows]:
            grid = Table.grid(padding=(0, 2, 0, 0))
            for width in widths:
                grid.add_column(width=width, overflow="fold")
            bold = "bold" if cells is headers else ""
            grid.add_row(*(Text(cell, style=bold or _STYLES.get(cell[:1], "")) for cell in cells[:-1]))
            self._print(Padding(grid, (0, 0, 0, indent), expand=False))
            if cells is not headers and cells[-1]:
                self.line(cells[-1], indent=indent + 4)

    def actions(self, commands: Iterable[tuple[str, str]]) -> None:
        """The exact next commands, each with what it does; printed on stdout as the end of the page."""
        pairs = list(commands)
        self._print(Text("ACTIONS:", style="bold"))
        room = self._console.width - 5  # indent and gap
        if not pairs or max(cell_len(command) for command, _ in pairs) + max(cell_len(m) for _, m in pairs) <= room:
            self._grid(pairs, 2, ["cyan", ""], gap=3)
            return
        for command, meaning in pairs:
            self.line(command, style="cyan")
            self.line(meaning, indent=6)

    def advice(self, text: str) -> None:
        """The closing remark below the last rule."""
        self.line(text, "💡", indent=0)

    def _grid(self, rows: Iterable[tuple[str, str]], indent: int, styles: Sequence[str], *, gap: int) -> None:
        grid = Table.grid(padding=(0, gap, 0, 0))
        grid.add_column(no_wrap=True, style=styles[0])
        grid.add_column(style=styles[1], overflow="fold", no_wrap=not self.shortens)
        for left, right in rows:
            grid.add_row(Text(printable(left)), Text(right))
        self._print(Padding(grid, (0, 0, 0, indent), expand=False))

    def _print(self, renderable: Text | Table | Padding) -> None:
        if self.shortens:
            self._console.print(renderable)
            return
        with self._console.capture() as captured:
            self._console.print(renderable)
        for line in captured.get().splitlines():
            self._console.out(line.rstrip(), highlight=False)


def mark(sign: str) -> str:
    """A sign padded so that texts after narrow and wide ones align."""
    width = Text(sign).cell_len
    return sign + " " * (3 - width)


def warn(text: str, hint: str | None = None) -> None:
    """A remark on stderr that leaves stdout to the data."""
    page = Page(stderr=True)
    page.line(text, "⚠", indent=0)
    if hint:
        page.line(f"hint: {hint}", indent=0)


def show_error(error: PacsopsError) -> None:
    """`Error: …` and `hint: …` on stderr."""
    page = Page(stderr=True)
    first, *rest = str(error).splitlines() or [type(error).__name__]
    page.line(f"{'' if isinstance(error, NothingToDo) else 'Error: '}{first}", indent=0, style="red")
    for line in rest:
        page.line(line)
    if error.hint:
        page.line(f"hint: {error.hint}", indent=0)
