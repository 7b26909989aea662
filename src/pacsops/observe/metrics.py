"""What a site measures: each metric's name and meaning, and how its samples are written down. Pure.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4),
https://graphite.readthedocs.io/en/stable/feeding-carbon.html (the plaintext protocol).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is measured, under both of its names."""

    name: str
    """Prometheus', with its unit."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Labels every sample of it has."""
    graphite: str
    """Graphite's path below the prefix, with the labels to be filled in."""
    scale: float = 1
    """What Graphite's unit is smaller or larger by."""
    of: str | None = None
    """The summary it is a part of; it then has its kind and help."""

    @property
    def family(self) -> str:
        return self.of or self.name


@dataclass(frozen=True, slots=True)
class Sample:
    """A metric's value now. `labels` are those that differ, in any order."""

    metric: Metric
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_labels(self) -> dict[str, str]:
        """In the metric's order."""
        return {name: self.labels[name] for name in self.metric.labels} | dict(self.metric.fixed)


def prometheus(samples: Iterable[Sample]) -> str:
    """Prometheus' text format, the samples of a family together below its HELP and TYPE."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.metric.family, []).append(sample)
    lines: list[str] = []
    for name, family in families.items():
        first = family[0].metric
        lines += [f"# HELP {name} {_escaped(first.help)}", f"# TYPE {name} {first.kind}"]
        lines += [f"{sample.metric.name}{_labels(sample)} {_number(sample.value)}" for sample in family]
    return "".join(f"{line}\n" for line in lines)


def graphite(samples: Iterable[Sample], *, prefix: str, at: int) -> str:
    """Graphite's plaintext protocol: `path value timestamp`, a line a sample. `at`: seconds since 1970."""
    return "".join(
        f"{prefix}.{graphite_path(sample)} {_number(sample.value * sample.metric.scale)} {at}\n" for sample in samples
    )


def graphite_path(sample: Sample) -> str:
    """Below the prefix. What Graphite would take for structure in a name becomes `_`."""
    safe = {name: re.sub(r"[^A-Za-z0-9_-]", "_", value) or "_" for name, value in sample.labels.items()}
    return sample.metric.graphite.format(**safe)


def _labels(sample: Sample) -> str:
    said = [f'{name}="{_escaped(value, quote=True)}"' for name, value in sample.all_labels.items()]
    return f"{{{','.join(said)}}}" if said else ""


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    # Digits that a double does not have (3 s as milliseconds) help nobody.
    return str(int(value)) if value == int(value) else f"{value:.15g}"
