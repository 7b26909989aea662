"""Ports that somebody else holds.

Runs on the host's own Python, before anything is installed: standard library only.
"""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

OUR_UNIT = re.compile(r"/pacsops-[^/\n]+\.service\b")
"""In the path of a process's control group (cgroups(7))."""


def port_problems(
    ports: Mapping[str, Mapping[str, Any]], pid_file: Path, project: str, published: Collection[int] | None = None
) -> Iterator[str]:
    """Ports that are taken, and not by our own: a supervisor's process, a unit, or a container.

    `ports`: service -> the variable that sets a port -> the port, 0 for none. `pid_file`: the supervisor's.
    `project`: what Compose calls our containers. `published`: their ports; Docker is asked for them when they are not
    given and a port is taken.
    """
    supervisor = _pid(pid_file)
    for service, wanted in ports.items():
        for variable, port in ((variable, int(port)) for variable, port in wanted.items()):
            if port == 0 or not _taken(port):
                continue
            holder = _holder(port)
            if holder is not None and (_in_our_unit(holder) or _descends(holder, supervisor)):
                continue
            if published is None:
                published = published_ports(project)
            if port in published:
                continue
            who = f"process {holder} ({_name(holder)})" if holder else "another user's process"
            yield f"port {port} for {service} is taken by {who}: set {variable} to a free one"


def published_ports(project: str) -> set[int]:
    """Ports of this host that lead into containers of the Compose project."""
    label = f"label=com.docker.compose.project={project}"
    command = ["docker", "ps", "--filter", label, "--format", "{{.Ports}}"]
    try:
        asked = subprocess.run(command, capture_output=True, check=False, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):  # no Docker, or one that is ill: then nothing is ours
        return set()
    return ports_in(asked.stdout)


def ports_in(listed: str) -> set[int]:
    """What `docker ps` calls ports: `0.0.0.0:8042->8042/tcp, :::5000-5002->5000-5002/tcp` are 8042 and 5000-5002."""
    found: set[int] = set()
    for first, last in re.findall(r":(\d+)(?:-(\d+))?->", listed):
        found.update(range(int(first), int(last or first) + 1))
    return found


def _taken(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1")):  # noqa: S104 - only asked
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
                if error.errno != errno.EACCES:  # a low port, and this user is not root: nobody has it
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


def _in_our_unit(pid: int) -> bool:
    try:
        return OUR_UNIT.search(Path(f"/proc/{pid}/cgroup").read_text()) is not None
    except OSError:
        return False


def _descends(pid: int, ancestor: int | None) -> bool:
    while ancestor is not None and pid > 1 and pid != ancestor:
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
