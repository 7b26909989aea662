"""Many questions at once, in threads that nothing waits for when the answer is no longer wanted.

Executors of the standard library join their threads when Python ends: one question that hangs would hang the exit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def side_by_side(
    ask: Callable[[Asked], Answer], subjects: Iterable[Asked], *, at_once: int
) -> Iterator[tuple[Asked, Answer]]:
    """Each subject with its answer, as they come in; at most `at_once` questions are under way.

    Raises:
        Exception: what `ask` raised first; the other answers are not waited for.
    """
    todo: SimpleQueue[Asked] = SimpleQueue()
    told: SimpleQueue[tuple[Asked, Answer | None, Exception | None]] = SimpleQueue()
    wanted = 0
    for subject in subjects:
        todo.put(subject)
        wanted += 1

    def work() -> None:
        while True:
            try:
                subject = todo.get_nowait()
            except Empty:
                return
            try:
                told.put((subject, ask(subject), None))
            except Exception as error:  # noqa: BLE001 (raised again where the answers are read)
                told.put((subject, None, error))

    for _ in range(min(wanted, at_once)):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(wanted):
        subject, answer, error = told.get()
        if error is not None:
            raise error
        yield subject, answer  # type: ignore[misc]  # None only beside an error
