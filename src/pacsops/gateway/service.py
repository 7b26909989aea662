"""`pacsops gateway`: a small parent, the receivers and the forwarder, each a process of its own.

The parent starts them, starts again what died, and stops them. It knows nothing else: killed, it takes its children
along, and loses nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final, Literal

from pacsops.errors import SettingsError
from pacsops.observe.logs import EventLog, write_to
from pacsops.settings import Settings

Part = Literal["receiver", "forwarder"]

_LOG = EventLog("gateway")
_LONGEST_WAIT: Final = 30.0
_LIVED_WELL: Final = 60.0
"""Seconds after which a part's death is a new story, and the next wait a short one."""
_STOP_SECONDS: Final = 8.0
_PR_SET_PDEATHSIG: Final = 1


def run(settings: Settings, part: Part | None = None) -> None:
    """Run the gateway, or one part of it, in the foreground until SIGTERM or SIGINT.

    Raises:
        SettingsError: this host has no gateway, or unfit certificates; as the part says.
    """
    if not settings.gateway_port:
        raise SettingsError(
            "this host has no gateway: GATEWAY_PORT is not set",
            hint="the inventory's group `gateway` says which hosts have one; then `ansible-playbook -i"
            " inventories/<site> site.yml`",
        )
    write_to()
    # Another part must not be loaded: the receiver knows neither PostgreSQL nor routes.
    match part:
        case "receiver":
            from pacsops.gateway import receiver_process  # noqa: PLC0415

            receiver_process.run(settings)
        case "forwarder":
            from pacsops.gateway import forwarder_process  # noqa: PLC0415

            forwarder_process.run(settings)
        case None:
            if settings.gateway_tls_port:
                # Unfit certificates are told once, by who was started, and not by receivers again and again.
                from pacsops.gateway.certificates import ReceiverCertificates  # noqa: PLC0415

                ReceiverCertificates(settings)
            _keep_running([*["receiver"] * settings.gateway_receivers, "forwarder"])


@dataclass
class _Child:
    """A part that is to run."""

    part: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    wait: float = 1.0

    def look(self, now: float) -> None:
        """Start it when it is due; see whether it died."""
        if self.process is None:
            if now >= self.due:
                self.process, self.started = _start(self.part), now
            return
        code = self.process.poll()
        if code is None:
            return
        if now - self.started > _LIVED_WELL:
            self.wait = 1.0
        status = signal.Signals(-code).name if code < 0 else code
        _LOG.error("part_died", part=self.part, status=status, wait_seconds=self.wait)
        self.process = None
        self.due = now + self.wait
        self.wait = min(2 * self.wait, _LONGEST_WAIT)


def _keep_running(parts: list[str]) -> None:
    stopping, changed = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        changed.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGCHLD, lambda *_: changed.set())
    children = [_Child(part) for part in parts]
    while not stopping.is_set():
        changed.clear()
        now = time.monotonic()
        for child in children:
            child.look(now)
        changed.wait(1.0)
    _stop([child.process for child in children if child.process is not None])
    _LOG.info("gateway_stopped", worker=os.getpid())


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Nothing is lost: it acknowledged nothing that is not on the disk.
            process.kill()
            process.wait()


def _start(part: str) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_the_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it was asked for
            os._exit(1)

    return subprocess.Popen(  # noqa: S603 (this interpreter, our own words)
        [sys.executable, "-m", "pacsops.cli.services", "gateway", "--part", part],
        preexec_fn=die_with_the_parent,  # noqa: PLW1509 (no threads here)
    )
