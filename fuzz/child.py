"""One target under libFuzzer: `python -m fuzz.child TARGET [libFuzzer's arguments and folders]`.

With a file in place of a folder, that input is run once: so a finding is looked at.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
from pathlib import Path

import atheris

# What reads the bytes is instrumented; pydicom, of which we use the dictionary, is not: it would only be slow.
_READERS = ["pacsops.dimse", "pacsops.dicom", "pacsops.gateway", "pacsops.routes", "yaml"]
with atheris.instrument_imports(include=_READERS):
    from fuzz.targets import targets


def main() -> None:
    name, *arguments = sys.argv[1:]
    logging.getLogger("pacsops").addHandler(logging.NullHandler())  # what is refused is logged, and that is right
    target = targets(Path(tempfile.mkdtemp()))[name]
    gc.freeze()  # what is there stays; targets collect rubbish after each input

    def run(content: bytes) -> None:
        target.run(content)

    atheris.Setup([sys.argv[0], f"-max_len={target.longest}", *arguments], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
