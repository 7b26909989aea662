"""The pages for the person on call: each has its parts, is short, and is found from the first one."""

from __future__ import annotations

import re

import pytest
from tests.support.pages import DOCS, Page, pages

SECTIONS = ["What you see", "What to do", "It is mended when", "What to tell the PACS administrator"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.stem)
def test_a_page_says_what_is_seen_done_and_told_in_three_commands(page: Page) -> None:
    assert list(page.sections) == SECTIONS
    assert 1 <= len(page.steps("What to do")) <= 3
    assert page.steps("It is mended when")
    assert "\n> " in page.sections["What to tell the PACS administrator"]
    assert len(page.text.splitlines()) < 75, "longer than a printed page"


def test_the_first_page_leads_to_every_other() -> None:
    overview = (DOCS / "OPERATIONS.md").read_text("utf-8")
    linked = re.findall(r"\[(.+?)\]\(operations/(.+?)\.md\)", overview)

    assert {name for _, name in linked} == {page.path.stem for page in pages()}
    assert {title.casefold() for title, _ in linked} == {page.title.casefold() for page in pages()}


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*DOCS.glob("*.md"), *DOCS.glob("operations/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_cheat_sheet_is_one_printed_page() -> None:
    lines = (DOCS / "CHEATSHEET.md").read_text("utf-8").splitlines()

    assert len([line for line in lines if line.strip()]) <= 62
