"""The table of states against the statements and the schema: no status changes in a way the table does not know."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from pacsops.database.migrate import migrations
from pacsops.delivery import sql
from pacsops.delivery.model import OPEN, WAITING, Status
from pacsops.delivery.states import TRANSITIONS, allowed

STATEMENT_OF = {
    "claim": sql.CLAIM_DELIVERIES,
    "submit": sql.SUBMIT,
    "finish": sql.FINISH,
    "fail": sql.FAIL,
    "stick": sql.FAIL,
    "release": sql.RELEASE,
    "grow": sql.GROW,
    "supersede": sql.SUPERSEDE,
    "restore": sql.RESTORE,
    "return": sql.RETURN,
    "revive": sql.REVIVE,
    "lack": sql.LACK,
    "lose": sql.LACK,
    "retry": sql.RESUME,
    "forced_retry": sql.RESUME,
    "skip": sql.TAKE_BACK,
    "cancel": sql.TAKE_BACK,
}
FENCE = "AND claim_token = %(token)s"
IN_FLIGHT = {Status.SENDING, Status.SENT}

every_transition = pytest.mark.parametrize("name", TRANSITIONS)


def assigned(statement: str) -> str | None:
    """The expression a statement sets `status` to."""
    found = re.search(r"(?:SET|,)\s+status = ((?:CASE.*?END)|[^,\n]+)", statement, re.DOTALL)
    return found[1] if found else None


def changers() -> dict[str, str]:
    """Every statement of the folder that changes a delivery's status, by its file's name."""
    folder = resources.files("pacsops.delivery.sql")
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".sql")}
    return {name: text for name, text in texts.items() if "UPDATE routing_state" in text and assigned(text)}


def test_every_transition_has_a_statement_and_every_statement_a_transition() -> None:
    assert STATEMENT_OF.keys() == TRANSITIONS.keys()
    assert set(changers().values()) == set(STATEMENT_OF.values())


@every_transition
def test_a_statement_leaves_only_the_states_the_table_says(name: str) -> None:
    assert "status = ANY (%(from_states)s)" in STATEMENT_OF[name]


@every_transition
def test_a_statement_enters_only_the_states_the_table_says(name: str) -> None:
    target = assigned(STATEMENT_OF[name])

    assert target is not None
    if target == "%(status)s":
        assert len(TRANSITIONS[name].enters) == 1, "the caller says which: there must be one"
    else:
        results = re.findall(r"(?:THEN|ELSE) '(\w+)'", target) or re.findall(r"^'(\w+)'$", target)
        assert set(results) == TRANSITIONS[name].enters


@every_transition
def test_a_statement_is_fenced_where_the_table_says(name: str) -> None:
    assert (FENCE in STATEMENT_OF[name]) is TRANSITIONS[name].fenced


@every_transition
def test_only_the_holder_or_an_operator_ends_a_claim(name: str) -> None:
    transition = TRANSITIONS[name]

    if transition.leaves & IN_FLIGHT and not transition.fenced:
        assert name in ("skip", "cancel")
        assert "claim_token = NULL" in STATEMENT_OF[name]


def test_only_a_claim_puts_a_delivery_in_flight() -> None:
    into = {name for name, made in TRANSITIONS.items() if made.enters & IN_FLIGHT and not made.leaves <= IN_FLIGHT}

    assert into == {"claim"}


def test_the_schema_knows_the_states_of_the_code() -> None:
    schema = "".join(migration.sql for migration in migrations())
    (listed,) = re.findall(r"CHECK \(status IN\s*\((.*?)\)\)", schema, re.DOTALL)

    assert re.findall(r"'(\w+)'", listed) == [status.value for status in Status]


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    reached = {Status.PENDING}
    for _ in Status:
        reached |= {after for before in reached for after in Status if allowed(before, after)}

    assert reached == set(Status)
    assert all(any(allowed(before, after) for after in Status) for before in OPEN)
    assert {Status.STUCK} == OPEN - WAITING


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Status.SUCCESS, Status.SENDING),
        (Status.SUCCESS, Status.FAILED),
        (Status.SUCCESS, Status.SKIPPED),
        (Status.STUCK, Status.SENDING),
        (Status.SKIPPED, Status.SENDING),
        (Status.CANCELLED, Status.SENT),
        (Status.PENDING, Status.SUCCESS),
        (Status.SENT, Status.SENDING),
    ],
)
def test_there_are_no_short_cuts(before: Status, after: Status) -> None:
    assert not allowed(before, after)
