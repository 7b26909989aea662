"""Programs run as children: ended with us, holding our lock, their words kept for the error message."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from pacsops.errors import BackupRefused

_PATIENCE_SECONDS = 30.0


class Child:
    """A running program: `stdout` to read from, `status` and `said` once it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Its exit status, when it has ended by itself."""
        return self._process.wait()

    def end(self) -> None:
        """SIGINT, as Ctrl-C would: restic gives its lock back, PostgreSQL shuts down. SIGKILL if that takes long."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_PATIENCE_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._process.kill()
                self._process.wait()

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()


class Children:
    """Starts programs that hold the file `lock` as long as they live: after a kill -9 of ours, a child that still
    writes keeps the next run from beginning."""

    def __init__(self, lock: int | None = None) -> None:
        self._keep = () if lock is None else (lock,)

    @contextmanager
    def running(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: BinaryIO | None = None,
        stdout: BinaryIO | None = None,
    ) -> Iterator[Child]:
        """A child for the length of the block; ended if it is left by an error or by Ctrl-C.

        In a session of its own: the terminal's Ctrl-C reaches us alone, and we end the child in good order.

        Raises:
            BackupRefused: there is no such program.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 (the configuration's own programs)
                    list(command),
                    env=None if environment is None else dict(environment),
                    stdin=stdin or subprocess.DEVNULL,
                    stdout=stdout or subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=self._keep,
                    cwd="/",
                )
            except FileNotFoundError as error:
                raise BackupRefused(
                    f"{command[0]} is not installed", hint="`ansible-playbook -i inventories/<site> site.yml`"
                ) from error
            child = Child(process, errors)
            try:
                yield child
            finally:
                child.end()
                if process.stdout is not None:
                    process.stdout.close()

    def run(self, command: Sequence[str], **streams: Any) -> tuple[int, bytes, str]:
        """A child to its end: exit status, stdout, stderr. `streams` as for `running`."""
        with self.running(command, **streams) as child:
            answered = b"" if streams.get("stdout") else child.stdout.read()
            status = child.wait()
            return status, answered, child.said


@contextmanager
def exclusively(work: Path) -> Iterator[Children]:
    """Only one backup, verification or restore a host at a time.

    Raises:
        BackupRefused: another one runs.
    """
    # Others may pass, not look: PostgreSQL's throwaway cluster is somebody else's.
    work.mkdir(mode=0o711, parents=True, exist_ok=True)
    lock = os.open(work / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 100, 0).decode(errors="replace").strip()
            raise BackupRefused(
                f"another backup, verification or restore runs on this host (process {holder or 'unknown'})",
                hint="wait for it; `orthanc backup status` shows what was done",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield Children(lock)
    finally:
        os.close(lock)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM (a service manager's stop, a host going down) ends the block as Ctrl-C does."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = None
    with suppress(ValueError):  # not in the main thread: whoever runs us there decides
        before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def unstoppable() -> Iterator[None]:
    """A short step that Ctrl-C and SIGTERM must not cut in two: they come when it is over."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
