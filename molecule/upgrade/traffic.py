"""A scanner that goes on sending whatever happens to the site: one study every few seconds until it is told to end.

    python molecule/upgrade/traffic.py HOST FOLDER

FOLDER/accepted has the accession number of each study of which every image was answered with Success, one a line and
forced to disk; FOLDER/stop ends it, as does half an hour.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))

from scanner import send

BETWEEN_SECONDS = 4
LONGEST_SECONDS = 1800


def main(host: str, folder: Path) -> None:
    ends = time.monotonic() + LONGEST_SECONDS
    with (folder / "accepted").open("w") as ledger:
        for number in count(1):
            if (folder / "stop").exists() or time.monotonic() > ends:
                return
            accession = f"TRAFFIC-{number}"
            try:
                send(host, accession)
            except ConnectionError:
                pass  # what was not taken, the scanner keeps
            else:
                ledger.write(f"{accession}\n")
                ledger.flush()
                os.fsync(ledger.fileno())
            time.sleep(BETWEEN_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
