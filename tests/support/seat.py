"""Where an operator sits: a terminal on a deployed site, and on the controller that deployed it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
import time
from pathlib import Path

from tests.support.demo_site import CHECKOUT, VENV, DemoSite
from tests.support.pages import Page, Step

FIRST, SECOND = "What you see", "What to do"
_COLUMNS = 100
_READS = (
    "status",
    "doctor",
    "show-",
    "history",
    "failures",
    "destinations",
    "test-",
    "logs",
    "route",
    "backup status",
)
"""Commands that change nothing: they are typed again while the site is not there yet."""


_SLOW = re.compile(r"⚠\s+\S+ answers slowly \(\d+ ms\)\.\s+→ `orthanc test-destination \S+`")


class Seat:
    """Types what a page says, as it says it. `bin`: a folder for the two programs it finds by their names."""

    def __init__(self, site: DemoSite, bin: Path) -> None:
        self._site = site
        self._bin = bin
        self._printed = ""
        """Since the page was opened."""
        self._write("orthanc", f'exec {site.home}/bin/orthanc "$@"')
        variables = bin / "site.json"
        variables.write_text(json.dumps(site.variables))
        self._write("ansible-playbook", f'cd {CHECKOUT} && exec {VENV}/ansible-playbook "$@" -e @{variables}')

    def follows(self, page: Page, section: str, *, within: float = 60) -> None:
        """Type every command of a section.

        AssertionError: one does not print what it is said to (a command that only reads: within so many seconds), or
        is in "What to do" and nothing has suggested it since "What you see".
        """
        if section == FIRST:
            self._printed = ""
        for step in page.steps(section):
            if section == SECOND and step.command.startswith("orthanc "):
                assert suggested(step.command, self._printed), f"nothing suggested `{step.command}`:\n{self._printed}"
            self._printed += self._follow(step, within)

    def types(self, command: str) -> str:
        """All that a command shows on a terminal; `y` is the answer to whatever it asks."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-c", self._here(command)],
            env={
                **os.environ,
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "TERM": "xterm",
                "COLUMNS": str(_COLUMNS),
                "LINES": "50",
                "NO_COLOR": "1",
            },
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, b"y\n")
        deadline = threading.Timer(240, process.kill)
        deadline.start()
        shown = bytearray()
        try:
            while chunk := _read(ours):
                shown += chunk
            process.wait()
        finally:
            deadline.cancel()
            os.close(ours)
        printed = shown.decode(errors="replace").replace("\r\n", "\n").replace(str(self._site.home), "/opt/orthanc")
        return printed.removeprefix("y\n")  # the terminal's echo

    def _follow(self, step: Step, within: float) -> str:
        words = step.command.removeprefix("orthanc ")
        patient = step.command.startswith("orthanc ") and words.startswith(_READS) and "--fix" not in words
        deadline = time.monotonic() + (within if patient else 0)
        while True:
            printed = self.types(step.command)
            lacking = step.unlike(but_slowness(printed))
            if lacking is None:
                return printed
            assert time.monotonic() < deadline, f"`{step.command}` does not print {lacking!r}, but\n{printed}"
            time.sleep(0.5)

    def _here(self, command: str) -> str:
        """A page speaks of a site where a deployment puts it, and leaves its name open."""
        return command.replace("inventories/<site>", "inventories/demo").replace("/opt/orthanc", str(self._site.home))

    def _write(self, name: str, does: str) -> None:
        program = self._bin / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)


def but_slowness(printed: str) -> str:
    """A page of `orthanc status` without destinations that answer slowly: so they do where many tests run at once."""
    above, rule, issues = printed.rpartition("━" * 20)
    left = _SLOW.sub("", issues)
    if left == issues:
        return printed
    return above + rule + left + ("" if "→" in left else "✅ All is well.")


def suggested(command: str, printed: str) -> bool:
    """Whether what was printed names the command, its last word perhaps another: a study by its Orthanc id."""
    but_the_last, _, _ = command.rpartition(" ")
    return any(form in " ".join(printed.split()) for form in (command, f"{but_the_last} "))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed: EIO on Linux
        return b""
