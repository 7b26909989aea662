"""What a host lacks for what the inventory wants of it: every problem at once.

Runs on the host's own Python, before anything is installed: standard library only.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

Version = tuple[int, ...]
KNOWN_SYSTEMS = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
"""ID -> VERSION_ID of os-release(5)."""
OLDEST_DOCKER: Version = (20, 10)
OLDEST_COMPOSE: Version = (2, 20)
LEAST_SYNCHRONISED = 16_000_000
"""Microseconds of possible error at which the kernel no longer counts its clock as synchronised (adjtimex(2))."""
RESOLVING_TIMEOUT = 10.0
"""Seconds that all names together have."""


def version_of(text: str) -> Version:
    """`v2.26.1-ds1` -> (2, 26, 1); () when there is no number."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()


def said_by(*command: str) -> str | None:
    """What a program says, None when it is not there, fails or takes more than 20 seconds."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def python_problems(minimum: Version, program: str, say: Callable[..., str | None] = said_by) -> Iterator[str]:
    """`program`: the Python that runs, or will run, the package."""
    told = say(program, "-c", "import platform; print(platform.python_version())")
    wanted = ".".join(map(str, minimum))
    if told is None:
        yield f"{program} does not run; Python {wanted} or newer is needed there"
    elif version_of(told) < minimum:
        yield f"{program} is Python {told}; {wanted} or newer is needed: set toolkit_python to one"


def system_problems(release: Mapping[str, str]) -> Iterator[str]:
    """`release`: os-release's fields."""
    name, version = release.get("ID", "?"), release.get("VERSION_ID", "?")
    if version not in KNOWN_SYSTEMS.get(name, ()):
        known = ", ".join(f"{each} {' and '.join(versions)}" for each, versions in KNOWN_SYSTEMS.items())
        yield f"this is {name} {version}; tried are {known}: preflight_any_os: true takes it all the same"


def os_release(file: Path = Path("/etc/os-release")) -> dict[str, str]:
    """The fields of os-release(5); none when there is no such file."""
    text = file.read_text() if file.exists() else ""
    return {key: value.strip("\"'") for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


def runtime_problems(
    kind: str, installable: Collection[str], say: Callable[..., str | None] = said_by, *, booted: bool | None = None
) -> Iterator[str]:
    """What the runtime stands on. `installable`: packages installed later; `booted`: by systemd, sd_booted(3)."""
    if kind == "systemd":
        if not (booted_by_systemd() if booted is None else booted):
            yield "systemd does not run this host (PID 1 is another): set runtime to compose or supervisor"
        if os.geteuid() != 0:
            yield "units of systemd are root's to install: set ansible_become to true"
    elif kind == "compose":
        yield from _docker_problems(installable, say)


def _docker_problems(installable: Collection[str], say: Callable[..., str | None]) -> Iterator[str]:
    if say("docker", "--version") is None:
        if not ("docker.io" in installable and may_install()):
            yield "Docker is not there: install docker.io, or Docker's own docker-ce"
        return
    engine = say("docker", "version", "--format", "{{.Server.Version}}")
    if engine is None:
        yield "the Docker engine does not answer this user: systemctl status docker; is the user in the group docker?"
    elif version_of(engine) < OLDEST_DOCKER:
        yield f"Docker {engine} is too old: {'.'.join(map(str, OLDEST_DOCKER))} or newer is needed"
    compose = say("docker", "compose", "version", "--short")
    if compose is None:
        if not ("docker-compose" in installable and may_install()):
            yield "Docker's plugin Compose is not there: install docker-compose-v2 or docker-compose-plugin"
    elif version_of(compose) < OLDEST_COMPOSE:
        yield f"Docker Compose {compose} is too old: {'.'.join(map(str, OLDEST_COMPOSE))} or newer is needed"


def memory_problems(wanted_mib: int, meminfo: str) -> Iterator[str]:
    """`wanted_mib`: what the host's services may use together; `meminfo`: /proc/meminfo."""
    total = int(re.findall(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)[0]) // 1024
    if wanted_mib > total:
        yield f"its services may use {wanted_mib} MiB of memory together, and it has {total} MiB"


def clock_problems(
    controller: float, tolerated: float, *, now: float, synchronised: bool, must_be_synchronised: bool
) -> Iterator[str]:
    """`controller`, `now`: seconds since 1970 there and here. What the question took on its way counts in."""
    ahead = now - controller
    if tolerated and abs(ahead) > tolerated:
        where = "ahead of" if ahead > 0 else "behind"
        yield f"its clock is {abs(ahead):.0f} s {where} the controller's: set the clocks"
    if must_be_synchronised and not synchronised:
        yield (
            "its clock is not synchronised: install and start chrony or systemd-timesyncd"
            " (preflight_ntp: false where something else keeps it)"
        )


def clock_synchronised() -> bool:
    """Whether the kernel's clock is disciplined, as timedatectl(1) tells."""
    timex = (ctypes.c_long * 64)()  # struct timex: modes, offset, freq, maxerror, ...; modes 0 only reads
    answered = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    return answered >= 0 and timex[3] < LEAST_SYNCHRONISED


def name_problems(names: Mapping[str, str], resolve: Callable[..., Any] = socket.getaddrinfo) -> Iterator[str]:
    """Host names that nobody here knows. `names`: whose -> the name or address. All are asked side by side."""
    troubles: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            resolve(name, None)
        except (OSError, UnicodeError) as error:
            troubles[name] = getattr(error, "strerror", None) or str(error)
        else:
            troubles[name] = ""

    asked = sorted({name for name in names.values() if not _is_address(name)})
    # Daemons: a resolver that never answers must not hold up the end of this program.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in asked]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + RESOLVING_TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for whose, name in names.items():
        trouble = "" if _is_address(name) else troubles.get(name, f"no answer within {RESOLVING_TIMEOUT:.0f} s")
        if trouble:
            yield f"{name} ({whose}) has no address here: {trouble}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def missing_programs(programs: Mapping[str, str], installable: Collection[str]) -> Iterator[str]:
    """`programs`: path -> the Debian package that brings it. One line that installs all that are missing.

    Packages in `installable` are left to a later task when it will have root's rights.
    """
    missing = {path: package for path, package in programs.items() if not Path(path).exists()}
    if missing and may_install():
        missing = {path: package for path, package in missing.items() if package not in installable}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        yield f"missing: {', '.join(missing)}. Install with: sudo apt-get install --no-install-recommends {packages}"


def may_install() -> bool:
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


def stranger_problems(folder: Path, secrets_folder: str, *, secrets_missing: bool) -> Iterator[str]:
    """A site that runs already, and a controller that has none of its passwords: it would give it new ones."""
    if secrets_missing and (folder / ".env").exists():
        yield (
            f"the site runs already, and this controller has none of its passwords: copy {secrets_folder} from the"
            " one that deployed it, or set them in a vault"
        )


def booted_by_systemd() -> bool:
    """As sd_booted(3) tells."""
    return Path("/run/systemd/system").is_dir()


def host_facts() -> dict[str, Any]:
    """What roles ask about a host, as ansible.builtin.setup names it."""
    return {
        "effective_user_id": os.geteuid(),
        "effective_group_id": os.getegid(),
        "python": {"executable": sys.executable},
        "pkg_mgr": "apt" if Path("/usr/bin/apt-get").exists() else "unknown",
        "service_mgr": "systemd" if booted_by_systemd() else "unknown",
        "distribution_release": os_release().get("VERSION_CODENAME", ""),
    }


def host_problems(asked: Mapping[str, Any], *, now: float) -> Iterator[str]:
    """All of the above. `asked`: the arguments of the module site_preflight; `now`: by this host's clock."""
    installable = asked["installable"]
    if not asked["any_os"]:
        yield from system_problems(os_release())
    yield from python_problems(version_of(asked["python_minimum"]), asked["python"])
    yield from runtime_problems(asked["runtime"], installable)
    yield from missing_programs(asked["programs"], installable)
    yield from space_problems(Path(asked["folder"]), asked["free_gib"])
    for folder, gib in asked["rooms"].items():
        yield from space_problems(Path(folder), float(gib))
    yield from memory_problems(asked["memory_mib"], Path("/proc/meminfo").read_text())
    yield from clock_problems(
        asked["controller_time"],
        asked["clock_difference"],
        now=now,
        synchronised=clock_synchronised(),
        must_be_synchronised=asked["ntp"],
    )
    yield from name_problems(asked["names"])
    yield from stranger_problems(
        Path(asked["folder"]), asked["secrets_folder"], secrets_missing=asked["secrets_missing"]
    )
