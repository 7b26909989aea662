"""The page for operators names every check as it is."""

from __future__ import annotations

from pathlib import Path

from pacsops.doctor import CHECKS

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_the_page_describes_every_check_and_no_other() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]

    assert rows == [
        f"| `{check.id}` | {check.section.value.capitalize()} | {check.scope} | {check.looks_at} |"
        for check in CHECKS
    ]
