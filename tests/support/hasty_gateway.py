"""A gateway that answers before an image has its name: `python -m tests.support.hasty_gateway`.

What its receivers have acknowledged and not named yet when they are killed is lost, as it must not be.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from pacsops.gateway import durable, receiver, service
from pacsops.gateway.part import Part
from pacsops.gateway.spool import file_name
from pacsops.settings import Settings

BEHIND_SECONDS = 0.5


class HastyKeeper(durable.Keeper):
    """Keeps images a while after it said that they are kept."""

    def keep(self, part: Part, study_uid: str, sop_instance_uid: str) -> durable.Kept:
        threading.Timer(BEHIND_SECONDS, super().keep, (part, study_uid, sop_instance_uid)).start()
        return durable.Kept(file_name(study_uid, sop_instance_uid), True, 1)


def main() -> None:
    receiver.Keeper = HastyKeeper
    service.subprocess = SimpleNamespace(Popen=_started, TimeoutExpired=subprocess.TimeoutExpired)
    service.run(Settings.load(), sys.argv[2] if len(sys.argv) > 1 else None)


def _started(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """The parent's parts are hasty as well."""
    return subprocess.Popen([sys.executable, "-m", "tests.support.hasty_gateway", *command[-2:]], **options)


if __name__ == "__main__":
    main()
