"""Run checks beside each other, none of them for longer than it may take, and gather what they found.

A check that hangs is left alone: its thread is a daemon's, so neither the other checks nor the exit wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from pacsops.doctor.check import Check
from pacsops.doctor.finding import WORST_FIRST, Finding, Severity, error, unseen
from pacsops.doctor.site import Site
from pacsops.errors import PacsopsError

AT_ONCE = 8
"""Checks that run at the same time; each may hold one connection to PostgreSQL."""


@dataclass(slots=True)
class Examined:
    """A check, what it found (by subject), and the seconds it took."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def severity(self) -> Severity:
        severities = {finding.severity for finding in self.findings}
        return next((severity for severity in WORST_FIRST if severity in severities), "ok")


@dataclass(slots=True)
class Examination:
    """Every check that ran, in the order it was asked for."""

    examined: list[Examined]

    @property
    def findings(self) -> list[tuple[Check, Finding]]:
        return [(each.check, finding) for each in self.examined for finding in each.findings]

    def number(self, severity: Severity) -> int:
        """Findings of this severity, of checks that could look."""
        return sum(finding.severity == severity and finding.seen for _, finding in self.findings)

    @property
    def unseen(self) -> int:
        """Findings that say that a check could not look."""
        return sum(not finding.seen for _, finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 warnings, or something could not be looked at, 2 errors."""
        return 2 if self.number("error") else 1 if self.number("warning") or self.unseen else 0


@dataclass(slots=True)
class _Running:
    examined: Examined
    thread: threading.Thread
    started: float
    told: SimpleQueue[Finding] = field(default_factory=SimpleQueue)

    @property
    def deadline(self) -> float:
        return self.started + self.examined.check.limit


def examine(site: Site, checks: Sequence[Check], *, at_once: int = AT_ONCE) -> Examination:
    """Run the checks. A check that raises, or takes longer than its limit, has that for a finding."""
    examined = [Examined(check) for check in checks]
    waiting, running = list(examined), dict[int, _Running]()
    done: SimpleQueue[int] = SimpleQueue()
    while waiting or running:
        while waiting and len(running) < at_once:
            start = _start(site, waiting.pop(0), done)
            running[id(start.examined)] = start
        nearest = min(each.deadline for each in running.values())
        try:
            finished = running.pop(done.get(timeout=max(0.0, nearest - time.monotonic())), None)
        except Empty:
            for key, each in list(running.items()):
                if each.deadline <= time.monotonic():
                    _end(running.pop(key), _hung(site, each))
        else:
            if finished is not None:  # else it came after its time was up
                _end(finished)
    return Examination(examined)


def examine_in_turn(site: Site, checks: Sequence[Check]) -> Examination:
    """Run the checks one after another in this thread, with no limit: for those that are quick."""
    examined = [Examined(check) for check in checks]
    for each in examined:
        started = time.monotonic()
        each.findings = sorted(_looked(site, each.check), key=_subject)
        each.seconds = round(time.monotonic() - started, 3)
    return Examination(examined)


def _start(site: Site, examined: Examined, done: SimpleQueue[int]) -> _Running:
    told: SimpleQueue[Finding] = SimpleQueue()

    def work() -> None:
        for finding in _looked(site, examined.check):
            told.put(finding)
        site.leave()
        done.put(id(examined))

    thread = threading.Thread(target=work, name=examined.check.id, daemon=True)
    running = _Running(examined, thread, time.monotonic(), told)
    thread.start()
    return running


def _looked(site: Site, check: Check) -> Iterable[Finding]:
    try:
        yield from check.look(site)
    except PacsopsError as trouble:
        yield unseen(str(trouble).splitlines()[0].rstrip(".:"), trouble.hint, error=type(trouble).__name__)
    except Exception as defect:  # noqa: BLE001 (a check that is broken must not hide what the others found)
        # By type alone: the message may hold what the check looked at.
        yield error(
            f"the check failed: {type(defect).__name__}",
            "report this as a defect, with what `orthanc version` says",
            error=type(defect).__name__,
        )


def _hung(site: Site, running: _Running) -> Finding:
    check = running.examined.check
    asked = site.asked_by(running.thread.ident) if running.thread.ident else None
    return error(
        f"{check.id} did not finish within {check.limit:g} s" + (f"; it waited for {asked}" if asked else ""),
        f"what it looks at may hang: {check.looks_at}",
        timeout_seconds=check.limit,
        waited_for=asked,
    )


def _end(running: _Running, *more: Finding) -> None:
    found = [running.told.get() for _ in range(running.told.qsize())]
    running.examined.findings = [*sorted(found, key=_subject), *more]
    running.examined.seconds = round(time.monotonic() - running.started, 3)


def _subject(finding: Finding) -> str:
    return finding.subject or ""
