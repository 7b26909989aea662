"""The gateway's forwarder killed at one point: `python -m tests.support.killed_gateway MODULE:FUNCTION before|after`.

SIGKILL to itself, as the kernel's out-of-memory killer would: no handler runs, nothing is flushed.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

from pacsops.gateway.forwarder_process import run
from pacsops.settings import Settings


def main() -> None:
    target, moment = sys.argv[1:]
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    real = getattr(owner, name)

    def killed(*args: Any, **keywords: Any) -> Any:
        if moment == "after":
            real(*args, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, killed)
    run(Settings.load())


if __name__ == "__main__":
    main()
