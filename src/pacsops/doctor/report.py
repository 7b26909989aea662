"""An examination for machines: the document behind `orthanc doctor --json` and the module site_doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsops.doctor.check import Check
from pacsops.doctor.examination import Examination
from pacsops.doctor.finding import Finding


def as_document(examination: Examination, fixed: Sequence[str] = ()) -> dict[str, Any]:
    """One entry of `checks` a finding: a check that found several things has several, apart by `subject`."""
    return {
        "checks": [as_entry(check, finding) for check, finding in examination.findings],
        "summary": {
            "ok": examination.number("ok"),
            "warnings": examination.number("warning"),
            "errors": examination.number("error"),
            "unseen": examination.unseen,
        },
        "seconds": {each.check.id: each.seconds for each in examination.examined},
        "fixed": list(fixed),
        "exit_code": examination.exit_code,
    }


def as_entry(check: Check, finding: Finding) -> dict[str, Any]:
    return {
        "id": check.id,
        "section": check.section.value,
        "scope": check.scope,
        "subject": finding.subject,
        "severity": finding.severity,
        "message": finding.message,
        "evidence": dict(finding.evidence),
        "recommendation": finding.recommendation,
        "fix": finding.fix.does if finding.fix else None,
        "seen": finding.seen,
    }
