"""Running the runtimes' own programs: their output, and their refusals as errors an operator can read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacsops.errors import NeedsRoot, RuntimeRefused

# Docker's socket, PolicyKit behind systemctl, another account's supervisor or files.
_NOT_ALLOWED = re.compile(
    r"permission denied|access denied|not permitted|authentication (?:is )?required|insufficient permissions"
    r"|not seeing messages from other users",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed, and its exit status."""

    code: int
    out: str
    error: str

    @property
    def reason(self) -> str:
        """The last line of what it complained about."""
        lines = [line.strip() for line in (self.error or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.code}"


def run(argv: Sequence[str], *, command: str, seconds: float = 120, allow: Sequence[int] = (0,)) -> Said:
    """What a program says. `allow`: exit statuses that are no failure; `command`: this site's `orthanc`.

    Raises:
        NeedsRoot: this user may not.
        RuntimeRefused: it is not there, failed, or gave no answer within `seconds`.
    """
    try:
        done = subprocess.run(  # noqa: S603 (the deployment's own words, no shell)
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise _absent(argv, error, command) from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeRefused(
            f"`{shlex.join(argv)}` gave no answer within {seconds:g} s", hint="try it by hand: it may say why"
        ) from error
    said = Said(done.returncode, done.stdout, done.stderr)
    if said.code not in allow:
        raise refusal(argv, said, command)
    return said


class Output:
    """The lines of a program, read as they come. Whoever has enough stops it.

    Iterating raises NeedsRoot or RuntimeRefused when the program could not be started, or ended by itself and failed.
    """

    def __init__(self, argv: Sequence[str], *, command: str) -> None:
        self._argv = argv
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def __iter__(self) -> Iterator[str]:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
            try:
                process = self._process = subprocess.Popen(  # noqa: S603 (as above)
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    encoding="utf-8",
                    errors="replace",
                    # Ctrl-C is for us to pass on.
                    start_new_session=True,
                )
            except OSError as error:
                raise _absent(self._argv, error, self._command) from error
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield line.rstrip("\n")
                process.wait()
            finally:
                self.stop()
                process.wait()
                process.stdout.close()
            complaints.seek(0)
            said = Said(process.returncode, "", complaints.read())
        if not self._stopped and (said.code != 0 or _NOT_ALLOWED.search(said.error)):
            raise refusal(self._argv, said, self._command)

    def stop(self) -> None:
        """End the program, from whichever thread."""
        if self._process is not None and self._process.poll() is None:
            self._stopped = True
            self._process.terminate()


def refusal(argv: Sequence[str], said: Said, command: str) -> NeedsRoot | RuntimeRefused:
    """Why a program would not."""
    if _NOT_ALLOWED.search(f"{said.error}\n{said.out}"):
        return NeedsRoot(
            f"this user may not speak to what runs the services: {said.reason}",
            hint=f"sudo {shlex.join([command, *sys.argv[1:]])}",
        )
    return RuntimeRefused(f"`{shlex.join(argv)}` failed: {said.reason}", hint="try it by hand: it may say more")


def _absent(argv: Sequence[str], error: OSError, command: str) -> NeedsRoot | RuntimeRefused:
    return refusal(argv, Said(127, "", f"{argv[0]}: {error.strerror}"), command)
