"""What would stop a deployment half way, found before it starts: every problem at once.

Runs on the host's own Python, before anything is installed: standard library only.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SECRET = re.compile(r"[A-Za-z0-9._~+=@/-]{8,}")
"""Characters that read the same in JSON, .env, pgpass, supervisord.conf and a URL's user part."""


def python_problems(minimum: Sequence[int], version: Sequence[int] = sys.version_info[:3]) -> Iterator[str]:
    """`minimum` and `version` as (major, minor, ...)."""
    if tuple(version[: len(minimum)]) < tuple(minimum):
        found, wanted = ".".join(map(str, version)), ".".join(map(str, minimum))
        yield f"{sys.executable} is Python {found}; {wanted} or newer is needed: set ansible_python_interpreter"


def unknown_variables(given: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A variable with a prefix of ours that no role reads was meant to be another one."""
    known = sorted(known)
    for name in sorted(set(given) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        yield f"no role knows the variable {name}" + (f" (did you mean {close[0]}?)" if close else "")


def secret_problems(secrets: Mapping[str, str]) -> Iterator[str]:
    """Passwords that some file format would garble; `secrets` by the variable that holds them."""
    for variable, value in secrets.items():
        if not SECRET.fullmatch(value):
            yield f"{variable} must be 8 or more of the characters A-Z a-z 0-9 . _ ~ + = @ / -"


def missing_programs(programs: Mapping[str, str], installable: Collection[str]) -> Iterator[str]:
    """`programs`: path -> the Debian package that brings it. One line that installs all that are missing.

    Packages in `installable` are left to a later task when it will have root's rights.
    """
    missing = {path: package for path, package in programs.items() if not Path(path).exists()}
    if missing and _may_install():
        missing = {path: package for path, package in missing.items() if package not in installable}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        yield f"missing: {', '.join(missing)}. Install with: sudo apt-get install --no-install-recommends {packages}"


def _may_install() -> bool:
    """Whether `become` will work: root, or sudo without a password."""
    if os.geteuid() == 0:
        return True
    try:
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)  # noqa: S607 - become's own
    except OSError:  # no sudo, or none this user may look for
        return False
    return asked.returncode == 0


def space_problems(folder: Path, gib: float) -> Iterator[str]:
    """Less than `gib` GiB free where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        yield f"{folder} has {free:.1f} GiB free; {gib:.0f} GiB are needed"


def unknown_destinations(routes: Iterable[Mapping[str, Any]], destinations: Iterable[str]) -> Iterator[str]:
    """Routes (as routes.yml has them) that send to what the inventory does not list."""
    known = sorted(destinations)
    for route in routes:
        to = (route.get("action") or {}).get("to") or []
        for name in [to] if isinstance(to, str) else to:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                yield f"route {route.get('name')!r} sends to {name}, which is not in orthanc_modalities" + (
                    f" (did you mean {close[0]}?)" if close else ""
                )


def port_problems(ports: Mapping[str, Mapping[str, Any]], pid_file: Path) -> Iterator[str]:
    """Ports that somebody else has: neither the process in `pid_file` nor a descendant.

    `ports`: service -> the variable that sets a port -> the port, 0 for none.
    """
    supervisor = _pid(pid_file)
    for service, wanted in ports.items():
        for variable, port in ((variable, int(port)) for variable, port in wanted.items()):
            if port == 0 or not _taken(port):
                continue
            holder = _holder(port)
            if holder is not None and supervisor is not None and _descends(holder, supervisor):
                continue
            who = f"process {holder} ({_name(holder)})" if holder else "another user's process"
            yield f"port {port} for {service} is taken by {who}: set {variable} to a free one"


def _taken(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1")):  # noqa: S104 - only asked
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
                raise
    return False


def _holder(port: int) -> int | None:
    """The process that listens on `port`, None when that is not for us to see (proc(5), net/tcp)."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return None


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        pid = int(re.findall(r"^PPid:\s*(\d+)", status, re.MULTILINE)[0])
    return pid == ancestor


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone meanwhile"
