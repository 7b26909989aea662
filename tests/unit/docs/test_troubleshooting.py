"""The page of messages has every message that an operator can meet."""

from __future__ import annotations

import inspect
import re

import pytest
from tests.support.messages import of_check, of_errors
from tests.support.pages import DOCS

from pacsops import errors
from pacsops.delivery.model import ErrorClass
from pacsops.delivery.remedies import BY_CLASS
from pacsops.doctor import CHECKS
from pacsops.doctor.check import Check
from pacsops.errors import PacsopsError
from pacsops.routes import RoutesInvalid

PAGE = (DOCS / "TROUBLESHOOTING.md").read_text("utf-8")
_, *_PARTS = re.split(r"^### `(.+)`\n", PAGE, flags=re.MULTILINE)
BELOW = {heading: text.partition("\n## ")[0] for heading, text in zip(_PARTS[::2], _PARTS[1::2], strict=True)}
KINDS = {
    *(each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PacsopsError)),
    RoutesInvalid,
} - {PacsopsError}


def shows(row: str, hint: str) -> bool:
    """Whether a row of the page has the words of a hint."""
    return all(words.strip() in row for words in " ".join(hint.split()).split("…"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_has_its_findings_and_what_to_do(check: Check) -> None:
    module = inspect.getmodule(check.look)
    assert module is not None
    part = BELOW[check.id]

    assert check.looks_at in part
    assert part.count("\n| ") > 1, "no finding"
    for said in of_check(module, check.look.__name__):
        [row] = [line for line in part.splitlines() if line.startswith(f"| {said.message} |")]
        assert shows(row, said.hint)


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_an_error_has_its_messages(kind: type[PacsopsError]) -> None:
    part = BELOW[kind.__name__]

    for name, said in of_errors():
        message = " ".join(said.message.split())
        if name == kind.__name__ and message != "Nothing was changed.":
            [row] = [line for line in part.splitlines() if line.startswith(f"| {message} |")]
            assert shows(row, said.hint)


def test_nothing_is_on_the_page_that_nobody_says_any_more() -> None:
    assert set(BELOW) == {*(check.id for check in CHECKS), *(kind.__name__ for kind in KINDS)}
    said = {" ".join(said.message.split()) for _, said in of_errors()}
    for kind in KINDS:
        for row in re.findall(r"^\| (.+?) \|", BELOW[kind.__name__], re.MULTILINE):
            assert row in {"it says", *said}, f"{kind.__name__}: {row}"


def test_every_reason_of_a_failed_delivery_is_there() -> None:
    for kind in ErrorClass:
        remedy = BY_CLASS[kind]
        assert f"| `{kind.value}` | {remedy.cause} | {remedy.fix.format(destination='…')} |" in PAGE
