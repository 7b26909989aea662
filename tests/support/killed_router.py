"""A router killed at one point of its work: `python -m tests.support.killed_router MODULE:FUNCTION before|after`.

SIGKILL to itself, as the kernel's out-of-memory killer would: no handler runs, nothing is flushed.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

from pacsops.router.service import run
from pacsops.settings import Settings


def main() -> None:
    target, moment = sys.argv[1:]
    module_name, _, function_name = target.partition(":")
    module = importlib.import_module(module_name)
    real = getattr(module, function_name)

    def killed(*args: Any, **keywords: Any) -> Any:
        result = None if moment == "before" else real(*args, **keywords)
        if moment == "before" or result:
            # `claim` and the like are called when there is nothing to do, too: that is no transition.
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, function_name, killed)
    run(Settings.load())


if __name__ == "__main__":
    main()
