"""A duty of the router is done again and again, whatever happens to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.network import eventually

from pacsops.delivery.loop import Loop, Wake
from pacsops.errors import DatabaseUnreachable


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    loop.start()
    try:
        yield
    finally:
        loop.stop()
        loop.join(5)


def test_an_error_does_not_end_a_duty_and_is_told_while_it_lasts() -> None:
    errors: list[Exception] = [DatabaseUnreachable("PostgreSQL is away"), KeyError("DOE^JOHN")]
    seen: list[str | None] = []
    done = threading.Event()

    def step() -> float:
        seen.append(loop.trouble)
        if errors:
            raise errors.pop(0)
        done.set()
        return 60.0

    loop = Loop("feed", step)
    with running(loop):
        assert done.wait(10)
        eventually(lambda: loop.trouble is None, what="the trouble being over")

    assert seen[:2] == [None, "PostgreSQL is away"]
    assert seen[2] is not None
    assert seen[2].startswith("KeyError at test_loop.py:"), "a defect is told by its place, not by what it worked on"


def test_the_bell_cuts_a_pause_short() -> None:
    steps: list[int] = []
    bell = Wake()

    def step() -> float:
        steps.append(1)
        return 60.0

    with running(Loop("feed", step, bell)):
        eventually(lambda: len(steps) == 1, what="the first step")
        bell.ring()
        eventually(lambda: len(steps) == 2, what="the second step")
