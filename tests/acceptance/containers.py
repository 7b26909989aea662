"""Containers as a site's Compose file starts them: nothing writable but what is mounted, no capabilities."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.network import eventually

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


def docker(*arguments: str, check: bool = True) -> str:
    """What the docker program printed, both streams. AssertionError with it when the program failed."""
    done = subprocess.run(
        ["docker", *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stdout}"
    return done.stdout


class Container:
    """A running container; it is removed at the end, with what it wrote outside mounts.

    Args:
        user: number it runs as, user and group; none for the image's own.
        mounts: folder or file here → path inside.
        environment: variables inside.
        arguments: the command, in place of the image's.
    """

    def __init__(
        self,
        image: str,
        *arguments: str,
        user: int | None = None,
        mounts: dict[Path, str] | None = None,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.name = f"pacsops-test-{uuid.uuid4().hex[:12]}"
        self._run = [f"--name={self.name}", *HARDENED, *options]
        if user is not None:
            self._run.append(f"--user={user}:{user}")
        self._run += [f"--volume={here}:{inside}" for here, inside in (mounts or {}).items()]
        self._run += [f"--env={name}={value}" for name, value in (environment or {}).items()]
        self._run += [image, *arguments]

    def __enter__(self) -> Self:
        docker("run", "--detach", *self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"── log of {self.name}\n{self.log}")
        docker("rm", "--force", "--volumes", self.name)

    def run(self) -> str:
        """In the foreground, to its end: what it printed. AssertionError when it failed."""
        return docker("run", "--rm", *self._run)

    @property
    def log(self) -> str:
        return docker("logs", self.name, check=False)

    @property
    def address(self) -> str:
        """Its IP address in Docker's own network."""
        return docker("inspect", "--format={{.NetworkSettings.IPAddress}}", self.name).strip()

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        running, status = docker("inspect", "--format={{.State.Running}} {{.State.ExitCode}}", self.name).split()
        return None if running == "true" else int(status)

    def execute(self, *command: str, check: bool = True) -> str:
        return docker("exec", self.name, *command, check=check)

    def answers(self, *command: str, within: float = 60) -> None:
        """Wait until the command, run inside, ends with 0."""

        def tried() -> bool:
            assert self.exit_status is None, f"{self.name} has ended: {self.log}"
            done = subprocess.run(["docker", "exec", self.name, *command], check=False, capture_output=True)
            return done.returncode == 0

        eventually(tried, within=within, what=f"`{' '.join(command)}` inside {self.name}")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        docker("kill", self.name)
        docker("wait", self.name)
