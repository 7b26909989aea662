"""Checks run side by side: one that hangs or breaks is named, and costs nobody else anything."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from pacsops.doctor import CHECKS, QUICK, Check, Section, Site, chosen, examine
from pacsops.doctor.finding import Finding, ok, unseen, warning
from pacsops.doctor.side_by_side import side_by_side
from pacsops.errors import DatabaseUnreachable, SettingsError
from pacsops.settings import Settings


def no_settings() -> Settings:
    raise SettingsError("there are none")


def looking(name: str, look: object, limit: float = 5.0) -> Check:
    return Check(name, Section.SERVICES, "host", limit, "what is looked at", look)  # type: ignore[arg-type]


def fine(_site: Site) -> Iterator[Finding]:
    yield ok("fine")


def test_a_check_that_hangs_is_named_with_what_it_waited_for_and_the_rest_is_told() -> None:
    never = threading.Event()

    def hangs(site: Site) -> Iterator[Finding]:
        yield ok("so far so good")
        with site.asking("the oracle"):
            never.wait(60)

    found = examine(Site(no_settings), [looking("hangs", hangs, limit=0.2), looking("fine", fine)], at_once=1)
    never.set()

    hung, rest = found.examined
    assert [finding.severity for finding in hung.findings] == ["ok", "error"]
    assert "hangs did not finish within 0.2 s; it waited for the oracle" in hung.findings[1].message
    assert [finding.message for finding in rest.findings] == ["fine"]
    assert found.exit_code == 2


def test_a_check_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = textwrap.dedent("""
        import threading
        from pacsops.doctor import Check, Section, Site, examine
        from pacsops.doctor.side_by_side import side_by_side
        from pacsops.settings import Settings

        def hangs(site):
            yield from side_by_side(lambda _: threading.Event().wait(), [1, 2], at_once=2)

        check = Check("hangs", Section.SERVICES, "host", 0.2, "it", hangs)
        print(examine(Site(Settings.load), [check]).exit_code)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_what_keeps_a_check_from_looking_is_told_as_such() -> None:
    def cannot(_site: Site) -> Iterator[Finding]:
        raise DatabaseUnreachable("cannot reach PostgreSQL.", hint="start it")
        yield

    found = examine(Site(no_settings), [looking("cannot", cannot)])

    ((_, finding),) = found.findings
    assert (finding.seen, finding.message, finding.recommendation) == (False, "cannot reach PostgreSQL", "start it")
    assert found.exit_code == 1


def test_a_check_with_a_defect_hides_nothing_and_tells_no_more_than_its_kind() -> None:
    def broken(_site: Site) -> Iterator[Finding]:
        yield ok("before")
        raise ValueError("DOE^JOHN")

    found = examine(Site(no_settings), [looking("broken", broken), looking("fine", fine)])

    assert [finding.message for _, finding in found.findings] == ["before", "the check failed: ValueError", "fine"]


def test_findings_come_in_the_order_of_their_subjects_whenever_they_were_made() -> None:
    def unordered(_site: Site) -> Iterator[Finding]:
        for name in ("MODLINK", "CT1"):
            yield ok(name, subject=name)

    found = examine(Site(no_settings), [looking("unordered", unordered)])

    assert [finding.subject for _, finding in found.findings] == ["CT1", "MODLINK"]


@pytest.mark.parametrize(
    ("finding", "code"), [(ok("x"), 0), (warning("x", "y"), 1), (unseen("x"), 1)], ids=["ok", "warning", "unseen"]
)
def test_the_exit_code_is_that_of_the_worst_finding(finding: Finding, code: int) -> None:
    found = examine(Site(no_settings), [looking("one", lambda _: iter([finding])), looking("fine", fine)])

    assert found.exit_code == code


def test_a_fact_is_asked_for_once_and_its_error_is_told_to_everyone() -> None:
    asked = []

    def load() -> Settings:
        asked.append(1)
        raise SettingsError("there are none")

    site = Site(load)
    for _ in range(2):
        with pytest.raises(SettingsError, match="there are none"):
            _ = site.settings
    assert len(asked) == 1


def test_the_first_error_of_many_questions_is_raised_where_the_answers_are_read() -> None:
    def ask(number: int) -> int:
        if number == 3:
            raise SettingsError("three")
        return number

    with pytest.raises(SettingsError, match="three"):
        list(side_by_side(ask, [3], at_once=4))
    assert sorted(answer for _, answer in side_by_side(ask, [1, 2, 4, 5], at_once=2)) == [1, 2, 4, 5]


def test_every_check_has_an_id_of_its_own_and_those_of_status_are_among_them() -> None:
    ids = [check.id for check in CHECKS]

    assert len(set(ids)) == len(ids)
    assert {check.id for check in QUICK} <= set(ids)


def test_checks_about_the_whole_site_can_be_left_out() -> None:
    here = chosen((), host_only=True)

    assert {check.scope for check in here} == {"host"}
    assert chosen(("stuck", "schema")) == tuple(check for check in CHECKS if check.id in {"stuck", "schema"})
    with pytest.raises(KeyError):
        chosen(("nonsense",))
