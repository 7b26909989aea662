"""Where images are kept: can it be written, how much is free, for how long?"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from pacsops.delivery import intake
from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, Fix, error, ok, unseen, warning
from pacsops.doctor.site import Site
from pacsops.errors import FixRefused, OrthancRefused, OrthancUnreachable
from pacsops.words import count, lasting, size

LITTLE_SPACE, NO_SPACE = 0.10, 0.05
"""Of the file system; a CT study is 0.5 GB, Orthanc stops at zero."""
_FEW_FILES = 0.05  # of its inodes
_A_WEEKEND, _A_DAY = 72, 24  # hours
_ELSEWHERE = "Orthanc keeps its images on another host, or where this user cannot look ({folder})"


@check("storage-writable", section=Section.STORAGE, scope="host")
def storage_writable(site: Site) -> Iterator[Finding]:
    """Whether a file can be written where Orthanc keeps its images, and the images are there."""
    folder = site.settings.dicom_storage_path
    try:
        found = os.statvfs(folder)
    except OSError:
        yield ok(_ELSEWHERE.format(folder=folder), path=str(folder), here=False)
        return
    if found.f_flag & os.ST_RDONLY:
        yield error(
            f"DICOM storage is mounted read-only ({folder}): Orthanc can receive nothing.",
            "the system log (`journalctl -k`) says why: often a failing disk; then mount it anew",
            path=str(folder),
        )
        return
    yield from _trial(folder)
    yield from _emptiness(site, folder)


def _trial(folder: Path) -> Iterator[Finding]:
    if not os.access(folder, os.W_OK | os.X_OK):
        yield ok(f"DICOM storage is not mounted read-only ({folder}); this user may not write there", tried=False)
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".orthanc-doctor-") as trial:
            trial.write(b"\0" * 4096)
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as trouble:
        advice = {
            errno.ENOSPC: "extend the file system or delete old studies",
            errno.EDQUOT: "raise the quota of Orthanc's account",
        }
        yield error(
            f"DICOM storage cannot be written ({folder}): {trouble.strerror}.",
            advice.get(trouble.errno or 0, "look at the disk: `journalctl -k`, `smartctl -a`"),
            path=str(folder),
            error=trouble.strerror,
        )
        return
    yield ok(f"DICOM storage is writable ({folder})", path=str(folder), tried=True)


def _emptiness(site: Site, folder: Path) -> Iterator[Finding]:
    """An index with images and a folder without any: the disk is not mounted."""
    try:
        instances = site.statistics.instances
        with os.scandir(folder) as entries:
            empty = not any(entry.is_dir() for entry in entries)
    except (OrthancUnreachable, OrthancRefused, PermissionError):
        return
    if instances and empty:
        yield error(
            f"Orthanc counts {count(instances, 'image')}, but {folder} has none: its file system may not be mounted.",
            "stop Orthanc, so that nothing is written beside the images; mount the file system; start Orthanc again",
            subject="mount",
            path=str(folder),
            instances=instances,
        )


@check("storage-space", section=Section.STORAGE, scope="host")
def storage_space(site: Site) -> Iterator[Finding]:
    """How much is free where images, the site and its logs are kept."""
    seen: set[int] = set()
    whats = {
        site.settings.dicom_storage_path: "for DICOM files",
        site.home / "data" / "postgres": "for the database",
        site.home: "for the site's own files",
    }
    for folder, what in whats.items():
        try:
            device, usage, files = folder.stat().st_dev, shutil.disk_usage(folder), os.statvfs(folder)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        yield _space(folder, what, usage.free, usage.total, figure=len(seen) == 1)
        if files.f_files and files.f_favail < _FEW_FILES * files.f_files:
            yield error(
                f"Only {files.f_favail:,} more files fit {what} ({folder}), whatever their size.",
                "delete old studies, or make the file system anew with more inodes",
                subject=f"{folder} (inodes)",
                free_inodes=files.f_favail,
                total_inodes=files.f_files,
            )
    if not seen:
        yield unseen(f"no folder of the site is here ({site.home})")


def _space(folder: Path, what: str, free: int, total: int, *, figure: bool) -> Finding:
    evidence = {"path": str(folder), "free_bytes": free, "total_bytes": total}
    figures = (Figure("free", free, "B"),) if figure else ()
    if free >= LITTLE_SPACE * total:
        said = f"{size(free)} of {size(total)} are free {what} ({folder})"
        return Finding(severity="ok", message=said, subject=str(folder), figures=figures, evidence=evidence)
    return Finding(
        severity="error" if free < NO_SPACE * total else "warning",
        message=f"Only {size(free)} of {size(total)} are free {what} ({folder}).",
        recommendation="`orthanc doctor --only storage-runway` says for how long it lasts; extend the file system or"
        " delete old studies: Orthanc stops receiving when it is full",
        subject=str(folder),
        figures=figures,
        evidence=evidence,
    )


@check("storage-runway", section=Section.STORAGE, scope="host")
def storage_runway(site: Site) -> Iterator[Finding]:
    """For how many hours images fit, if they come in as in the last day (or week, where none came for a day)."""
    folder = site.settings.dicom_storage_path
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        yield ok(_ELSEWHERE.format(folder=folder), path=str(folder), here=False)
        return
    statistics = site.statistics
    received = intake.received(site.db, timedelta(hours=24)) or intake.received(site.db, timedelta(days=7))
    if received is None or not statistics.instances:
        yield ok("how long the storage lasts is not known: nothing came in for a week", free_bytes=free, hours=None)
        return
    each = statistics.disk_bytes / statistics.instances
    rate = each * received.instances / received.hours
    hours = free / rate
    said = (
        f"the storage lasts for {lasting(hours * 3600)} more at {size(round(rate))} an hour"
        f" ({count(received.instances, 'image')} in {received.hours:.0f} h)"
    )
    evidence = {
        "hours": round(hours, 1),
        "free_bytes": free,
        "bytes_per_hour": round(rate),
        "instances": received.instances,
        "measured_hours": round(received.hours, 1),
    }
    figures = (Figure("runway", round(hours * 3600), "s"),)
    if hours >= _A_WEEKEND:
        yield Finding(severity="ok", message=said, figures=figures, evidence=evidence)
        return
    yield Finding(
        severity="error" if hours < _A_DAY else "warning",
        message=f"{said[0].upper()}{said[1:]}.",
        recommendation="extend the file system or delete old studies before then: a full Orthanc refuses images",
        figures=figures,
        evidence=evidence,
    )


@check("folders", section=Section.STORAGE, scope="host")
def folders(site: Site) -> Iterator[Finding]:
    """Whether the site's folders for configuration and logs are there."""
    missing = [folder for folder in (site.home / "config", site.home / "logs") if not folder.is_dir()]
    for folder in missing:
        # Logs only: an empty config/ serves nobody, and an empty folder for images hides a disk that is not mounted.
        fix = Fix(f"make {folder}", _make(folder)) if folder.name == "logs" and site.home.is_dir() else None
        yield warning(
            f"There is no folder {folder}.",
            "`orthanc doctor --fix` makes it" if fix else "deploy the site again: `ansible-playbook … site.yml`",
            subject=folder.name,
            fix=fix,
            path=str(folder),
        )
    if not missing:
        yield ok(f"config/ and logs/ are in {site.home}", path=str(site.home))


def _make(folder: Path) -> Callable[[str], str]:
    def apply(_by: str) -> str:
        owner = folder.parent.stat()
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            if os.geteuid() == 0:  # as the deployment made its neighbours
                os.chown(folder, owner.st_uid, owner.st_gid)
        except OSError as trouble:
            raise FixRefused(
                f"cannot make {folder}: {trouble.strerror}", hint="`sudo orthanc doctor --fix --only folders`"
            ) from trouble
        return f"made {folder}"

    return apply
