"""What a check says: findings, as data. Who prints them decides how they look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "warning", "error"]
WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "ok")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number worth plotting over time. `unit`: s, B, % or empty, as Nagios' plugins know them."""

    label: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """A repair that loses nothing and that a person would do without a second thought."""

    does: str
    """What it would do, as an order: `try 2 deliveries to MODLINK again`."""
    apply: Callable[[str], str]
    """Does it, for the person named; what it did, in words. Raises PacsopsError when it could not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found. `evidence` is what it saw, for machines; `subject` what it is about, such as a
    destination; `seen` is False when the check could not look."""

    severity: Severity
    message: str
    recommendation: str | None = None
    subject: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    fix: Fix | None = None
    seen: bool = True


def ok(message: str, *, subject: str | None = None, figures: tuple[Figure, ...] = (), **evidence: Any) -> Finding:
    return Finding(severity="ok", message=message, subject=subject, figures=figures, evidence=evidence)


def warning(
    message: str,
    recommendation: str,
    *,
    subject: str | None = None,
    figures: tuple[Figure, ...] = (),
    fix: Fix | None = None,
    **evidence: Any,
) -> Finding:
    return Finding(
        severity="warning",
        message=message,
        recommendation=recommendation,
        subject=subject,
        figures=figures,
        fix=fix,
        evidence=evidence,
    )


def error(
    message: str,
    recommendation: str,
    *,
    subject: str | None = None,
    figures: tuple[Figure, ...] = (),
    fix: Fix | None = None,
    **evidence: Any,
) -> Finding:
    return Finding(
        severity="error",
        message=message,
        recommendation=recommendation,
        subject=subject,
        figures=figures,
        fix=fix,
        evidence=evidence,
    )


def unseen(why: str, recommendation: str | None = None, *, subject: str | None = None, **evidence: Any) -> Finding:
    """The check could not look: neither well nor ill, which is a warning."""
    return Finding(
        severity="warning",
        message=why,
        recommendation=recommendation,
        subject=subject,
        evidence=evidence,
        seen=False,
    )
