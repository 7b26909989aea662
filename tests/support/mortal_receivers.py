"""Receivers on one port, there again at once when they are killed: `python -m tests.support.mortal_receivers N`.

Forked, because Python takes longer to start than a receiver lives here; each runs what `pacsops gateway` runs.
"""

from __future__ import annotations

import os
import sys

from pacsops.gateway import receiver_process
from pacsops.observe.logs import write_to
from pacsops.settings import Settings


def main() -> None:
    write_to()
    settings = Settings.load()
    for _ in range(int(sys.argv[1])):
        _fork(settings)
    while True:
        os.wait()
        _fork(settings)


def _fork(settings: Settings) -> None:
    if os.fork() == 0:
        receiver_process.run(settings)
        os._exit(0)


if __name__ == "__main__":
    main()
