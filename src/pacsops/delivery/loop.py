"""One duty of a service, done again and again in a thread that nothing ends but a stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pacsops.errors import PacsopsError
from pacsops.observe.logs import EventLog

_LONGEST_PAUSE = 5.0


class Wake:
    """A bell: whoever rings it makes the loop that waits on it go at once. Ringing twice is ringing once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()


class Loop:
    """Calls `step` until stopped; `step` returns the seconds to wait before the next call, unless the bell rings.

    An error is logged when it begins and when it ends, and costs a pause: Orthanc or PostgreSQL may be away for
    hours.
    """

    def __init__(
        self, name: str, step: Callable[[], float], wake: Wake | None = None, *, service: str = "router"
    ) -> None:
        self.name = name
        self.trouble: str | None = None
        """What keeps the duty from being done, for `orthanc status`."""
        self._log = EventLog(service)
        self._step = step
        self._wake = wake or Wake()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the step under way."""
        self._stopping.set()
        self._wake.ring()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        failures = 0
        since = 0.0
        while not self._stopping.is_set():
            try:
                pause = self._step()
                if failures:
                    self._log.info("duty_resumed", component=self.name, seconds=round(time.monotonic() - since, 1))
                failures, self.trouble = 0, None
            except Exception as error:  # noqa: BLE001 (a duty that ends for good loses studies; it is logged and tried again)
                failures += 1
                if failures == 1:
                    since = time.monotonic()
                self._say(error, first=failures == 1)
                pause = min(_LONGEST_PAUSE, 0.5 * 2 ** min(failures, 5))
            if not self._stopping.is_set():
                self._wake.wait(pause)

    def _say(self, error: Exception, *, first: bool) -> None:
        expected = isinstance(error, PacsopsError)
        # A defect is told by type and place only: its message may hold what it worked on.
        words = str(error) if expected else f"{type(error).__name__} at {_place(error)}"
        if first or words != self.trouble:
            self._log.error("duty_interrupted", component=self.name, error=words)
        self.trouble = words


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
