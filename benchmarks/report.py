"""Where figures go: build/bench.json, the table in docs/performance.md, the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEADINGS = ("what", "ours", "the peer", "its figure", "times better")


def as_json(figures: Sequence[Figure]) -> str:
    """A list of objects; `ratio` above 1 is better for us, whatever the unit."""
    keys = ("name", "value", "unit", "peer", "peer_value", "ratio")
    return json.dumps([{key: getattr(figure, key) for key in keys} for figure in figures], indent=2) + "\n"


def with_measured(page: str, figures: Sequence[Figure], machine: str) -> str:
    """The page with everything between its two markers replaced.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} … {END}")
    rows = [_HEADINGS, ("---", "---:", "---", "---:", "---:"), *map(_cells, figures)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{before}{BEGIN}\n{machine}\n\n{table}\n{END}{after}"


def show(figures: Sequence[Figure]) -> None:
    """A table for the terminal."""
    table = Table(*_HEADINGS)
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for figure in figures:
        table.add_row(*_cells(figure))
    Console().print(table)


def machine(*programs: str) -> str:
    """What the figures hold for: the machine's shape, and the programs measured."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "CPU")
    kilobytes = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    shape = f"{len(os.sched_getaffinity(0))} cores ({cpu}), {round(kilobytes / 2**20)} GiB of memory"
    return f"Measured on {shape}: {', '.join(programs)}."


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    return (
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        figure.peer or "",
        "" if figure.peer_value is None else f"{_number(figure.peer_value)} {figure.unit}",
        "" if figure.ratio is None else _number(figure.ratio),
    )


def _number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
