"""A receiver killed at one point: `python -m tests.support.killed_receiver MODULE:FUNCTION before|after N SINCE`.

FUNCTION may be one of a class (`Class.method`); N says at which of its calls, counted since its `start` or since its
first `image`. SIGKILL to itself, as the kernel's out-of-memory killer would: no handler runs, nothing is flushed.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from typing import Any

from pacsops.gateway.receiver import Receiver
from pacsops.gateway.service import run
from pacsops.settings import Settings


def main() -> None:
    target, moment, number, since = sys.argv[1:]
    module_name, _, name = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, function_name = name.split(".")
    for one in classes:
        owner = getattr(owner, one)
    real = getattr(owner, function_name)
    store = Receiver.store
    calls = itertools.count(1)
    counting = since == "start"

    async def stored(*args: Any) -> Any:
        nonlocal counting
        counting = True
        return await store(*args)

    def killed(*args: Any, **keywords: Any) -> Any:
        now = counting and next(calls) == int(number)
        if now and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **keywords)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Receiver.store = stored  # type: ignore[method-assign]
    setattr(owner, function_name, killed)
    run(Settings.load(), "receiver")


if __name__ == "__main__":
    main()
