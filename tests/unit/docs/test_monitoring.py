"""The page about monitoring has every metric, as it is told, and no other."""

from __future__ import annotations

import re

from tests.support.pages import DOCS

from pacsops.observe.measured import ALL
from pacsops.observe.metrics import Metric

PAGE = (DOCS / "monitoring.md").read_text("utf-8")
BEFORE, TABLE = PAGE.split("## Every metric")


def path(metric: Metric) -> str:
    return metric.graphite.replace("{", "<").replace("}", ">")


def rows() -> list[str]:
    """One a family: its name and labels, its paths, its help."""
    families: dict[str, list[Metric]] = {}
    for metric in ALL:
        families.setdefault(metric.family, []).append(metric)
    return [
        f"| `{name}{{{','.join(parts[0].labels)}}}` | ".replace("{}", "")
        + ", ".join(f"`{path(part)}`" for part in parts)
        + f" | {parts[0].help} |"
        for name, parts in families.items()
    ]


def test_the_table_is_what_is_told() -> None:
    assert [line for line in TABLE.splitlines() if line.startswith("| `")] == rows()


def test_what_is_to_be_alarmed_at_is_measured() -> None:
    named = set(re.findall(r"\borthanc_[a-z_]+\b", BEFORE))
    alarms = [line.split(" | ")[2] for line in BEFORE.splitlines() if re.match(r"\| [A-Za-z ]+ \| `", line)]
    paths = re.findall(r"`([a-z_.*]+)`", " ".join(alarms))
    known = {re.sub(r"{\w+}", "*", metric.graphite) for metric in ALL}

    assert named == named & {metric.name for metric in ALL}
    assert len(paths) >= 6
    assert [one for one in paths if one not in known and f"{one.rpartition('.')[0]}.*" not in known] == []


def test_the_page_has_two_screens() -> None:
    assert len(PAGE.splitlines()) <= 110
