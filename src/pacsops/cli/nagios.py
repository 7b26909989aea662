"""An examination as a plugin of Nagios (and Icinga, Naemon) says it: one line, figures, an exit code.

Source: https://nagios-plugins.org/doc/guidelines.html
"""

from __future__ import annotations

import re

from pacsops.cli.render import count, printable
from pacsops.doctor import Examination
from pacsops.doctor.finding import Figure

_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_UNKNOWN = 3
_NO_LOOK = "settings"  # says why nothing else could be looked at
_LONGEST = 700  # characters of text: what reads it may cut off a line, and the figures come after


def said(examination: Examination) -> tuple[str, int]:
    """The line and the exit code; unknown when no check could look at anything."""
    findings = [finding for _, finding in examination.findings]
    looked = any(finding.seen for check, finding in examination.findings if check.id != _NO_LOOK)
    code = examination.exit_code if looked or not examination.unseen else _UNKNOWN
    issues = [finding for finding in findings if finding.severity != "ok" and finding.seen]
    issues.sort(key=lambda finding: finding.severity)
    totals = f"{count(examination.number('error'), 'error')}, {count(examination.number('warning'), 'warning')}"
    if examination.unseen:
        totals += f", {count(examination.unseen, 'check')} could not look"
    text = "; ".join([totals, *(finding.message.rstrip(".") for finding in issues)])
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    figures = [
        Figure("errors", examination.number("error")),
        Figure("warnings", examination.number("warning")),
        Figure("unseen", examination.unseen),
        *(figure for finding in findings for figure in finding.figures),
    ]
    # `|` begins the figures, and there is one line.
    text = re.sub(r"\s+", " ", text).replace("|", "/")
    return printable(f"PACSOPS {_NAMES[code]} - {text} | {' '.join(map(_figure, figures))}"), code


def _figure(figure: Figure) -> str:
    label = re.sub(r"[^\w.-]", "_", figure.label)
    return f"{label}={figure.value:.15g}{figure.unit}"
