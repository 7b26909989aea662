"""Backups of a site in a restic repository: made, listed, verified by restoring them, restored."""

from pacsops.backup.configuration import BackupConfiguration
from pacsops.backup.make import Backup, back_up
from pacsops.backup.progress import Progress
from pacsops.backup.records import Run, newest_run, recent_runs
from pacsops.backup.restore import Restoration, RestorePlan, plan_restore, restore
from pacsops.backup.snapshots import StoredBackup, choose, stored_backups
from pacsops.backup.verify import Verification, verify

__all__ = [
    "Backup",
    "BackupConfiguration",
    "Progress",
    "Restoration",
    "RestorePlan",
    "Run",
    "StoredBackup",
    "Verification",
    "back_up",
    "choose",
    "newest_run",
    "plan_restore",
    "recent_runs",
    "restore",
    "stored_backups",
    "verify",
]
