"""What the story is told with: the operator's own commands, plugs to pull, waits that end."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import plugs
from rich.console import Console

T = TypeVar("T")

COMMAND_SECONDS = 30.0
"""No single command takes longer, or the story ends."""


class StoryEnds(Exception):
    """Something is not as the demo promises. `evidence`: what was seen instead, line by line."""

    def __init__(self, message: str, evidence: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.evidence = tuple(evidence)


class Stage:
    """Everything here is what a person at this checkout has at hand.

    Args:
        demo: the `.demo` folder, deployed and running.
        console: where the story goes.
    """

    def __init__(self, demo: Path, console: Console) -> None:
        self._demo = demo
        self._plugs = plugs.of(demo)
        self._programs = Path(sys.executable).parent
        self._environment = {**os.environ, "ORTHANC_ENV": str(demo / ".env")}
        self._began = time.monotonic()
        self._step = 0
        self.console = console

    @property
    def elapsed(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began

    def step(self, title: str) -> None:
        """The heading of the next step, with the time so far."""
        self._step += 1
        self.console.print()
        self.console.print(f"[bold cyan]{self._step}  {title}[/]  [dim]{self.elapsed:.0f} s[/]", highlight=False)

    def tell(self, text: str) -> None:
        """One line of the story. Never folded: identifiers stay whole when piped."""
        self.console.print(f"   {text}", highlight=False, soft_wrap=True)

    def ask(self, *arguments: str) -> dict[str, Any]:
        """`orthanc <arguments> --json`: its answer, whatever the exit code.

        Raises:
            StoryEnds: no JSON came, or not in time.
        """
        done = self._run([str(self._programs / "orthanc"), *arguments, "--json"])
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise StoryEnds(
                f"`orthanc {' '.join(arguments)} --json` failed (exit code {done.returncode})",
                (done.stderr or done.stdout).splitlines(),
            ) from None
        assert isinstance(answer, dict)
        return answer

    def answers(self, destination: str) -> bool:
        """Whether the destination answers Orthanc's C-ECHO: `orthanc test-destination`."""
        return self._run([str(self._programs / "orthanc"), "test-destination", destination]).returncode < 2

    def show(self, *arguments: str) -> int:
        """`orthanc <arguments>` as the operator sees it; its exit code."""
        self.console.print(f"\n[bold]$ orthanc {' '.join(arguments)}[/]", highlight=False, soft_wrap=True)
        self.console.file.flush()
        return self._run([str(self._programs / "orthanc"), *arguments], capture=False).returncode

    def services(self) -> dict[str, bool]:
        """The demo's services, and whether each runs.

        Raises:
            StoryEnds: what runs them does not answer.
        """
        done = self._run(self._plugs.list_command)
        states = self._plugs.running(done.stdout)
        if not states:
            raise StoryEnds(
                "nothing tells of services: is the demo running?", (done.stdout + done.stderr).splitlines()
            )
        return states

    def plug(self, action: str, neighbour: str) -> str:
        """`start` or `stop` one neighbour; nothing when it already is. The command as a person would type it.

        Raises:
            StoryEnds: it did not obey, or there is no such service.
        """
        service = neighbour.lower()
        if service not in (states := self.services()):
            raise StoryEnds(f"there is no service {service}", plugs.names(states))
        done = self._run(self._plugs.command(action, service))
        if self.services()[service] != (action == "start"):
            raise StoryEnds(f"{self._plugs.said(action, service)} failed", (done.stdout + done.stderr).splitlines())
        return self._plugs.said(action, service)

    def deliveries(self, study_uid: str) -> list[dict[str, Any]]:
        """What was promised of a study, by `orthanc history`."""
        found: list[dict[str, Any]] = self.ask("history", study_uid)["deliveries"]
        return found

    def delivery_lines(self, study_uid: str) -> Sequence[str]:
        """The same as evidence."""
        return [
            f"{d['destination']:<12} {d['status']:<8} attempt {d['attempt_count']} of {d['max_attempts']}"
            f"  {d['last_error'] or ''}".rstrip()
            for d in self.deliveries(study_uid)
        ] or ["no delivery is planned for this study"]

    def invite(self, suggestions: Sequence[tuple[str, str]], more: str) -> None:
        """The last words: commands to try next, and what each is for."""
        self.console.print(f"\n[bold]The story is told[/] in {self.elapsed:.0f} s. What to try next:\n")
        for command, what in (
            ("export ORTHANC_ENV=$PWD/.demo/.env PATH=$PWD/.venv/bin:$PATH", "the operator's seat"),
            *suggestions,
            ("make demo-stop", "stop everything and remove .demo"),
        ):
            self.tell(f"[bold]{command}[/]")
            self.tell(f"  [dim]{what}[/]")
        self.tell(f"[dim]More in {more}.[/]")

    def wait_for(
        self, what: str, probe: Callable[[], T | None], *, within: float, evidence: Callable[[], Sequence[str]]
    ) -> T:
        """The first thing `probe` finds (None: not yet), looked for at most `within` seconds.

        Raises:
            StoryEnds: with `evidence()` when the time is over.
        """
        deadline = time.monotonic() + within
        waiting = f"waiting for {what} (at most {within:.0f} s)"
        if (found := probe()) is None and not self.console.is_terminal:
            self.tell(waiting)
        with self.console.status(waiting):
            while found is None:
                if time.monotonic() > deadline:
                    raise StoryEnds(f"{what}: not within {within:.0f} s", _gathered(evidence))
                time.sleep(0.2)
                found = probe()
        return found

    def _run(self, command: list[str], *, capture: bool = True) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - the checkout's own programs, no shell
                command,
                env=self._environment,
                cwd=self._demo.parent,
                stdin=subprocess.DEVNULL,
                capture_output=capture,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StoryEnds(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS:.0f} s") from None
        except OSError as error:
            raise StoryEnds(f"cannot run {command[0]}: {error.strerror}") from error


def perform(story: Callable[[Stage, Path], None], *, title: str, when_stopped: str) -> int:
    """Tell a story once, against the `.demo` that the command line names; 0 when everything was as promised.

    Args:
        when_stopped: how somebody who stops it finds the demo.
    """
    parser = argparse.ArgumentParser(description=f"Tell the story against the running .demo: {title}.")
    checkout = Path(__file__).resolve().parent.parent
    parser.add_argument("--demo", type=Path, default=checkout / ".demo", help="the deployed folder")
    demo: Path = parser.parse_args().demo.resolve()

    console = Console()
    console.print(f"[bold]{title}[/]")
    try:
        story(Stage(demo, console), demo)
    except StoryEnds as end:
        console.print(f"\n[bold red]✗ {end}[/]", highlight=False, soft_wrap=True)
        for line in end.evidence:
            console.print(f"    {line}", highlight=False, soft_wrap=True, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nstopped; {when_stopped}")
        return 130
    return 0


def _gathered(evidence: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return evidence()
    except StoryEnds as end:  # why there is none is evidence too, and must not hide what was waited for
        return (str(end), *end.evidence)
