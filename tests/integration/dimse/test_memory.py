"""Memory depends neither on the size of an instance nor on how many an association carries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.dimse import CT, EXPLICIT

from pacsops.dimse import Instance, file_meta

GROWTH = 24 << 20
"""Bytes: batches, buffers and what Python's allocator keeps, with room to spare."""
PROGRAM = """
import asyncio, resource, sys
from pathlib import Path
from pacsops.dimse import *

async def forget(request):
    async for _ in request:
        pass
    return Answer()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

async def main(warm_up, path, times, window):
    policy = Policy(transfer_syntaxes=lambda _: [sys.argv[5]])
    context = Context(sys.argv[6], [sys.argv[5]])
    async with serve("127.0.0.1", 0, Handlers(store=forget), policy) as acceptor:
        peer = Peer("127.0.0.1", acceptor.port, "ANY")
        async with associate(peer, "EDGE", [context], Terms(window=window)) as association:
            for _ in range(200):
                await association.store(warm_up)
            before = peak()
            for _ in range(times // window):
                await asyncio.gather(*(association.store(path) for _ in range(window)))
            print(peak() - before)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
"""


@pytest.mark.parametrize(
    ("size", "times", "window"),
    [
        pytest.param(2 << 30, 1, 1, id="one instance of 2 GB"),
        pytest.param(1000, 10_000, 1, id="10,000 small instances"),
        pytest.param(1000, 10_000, 16, id="10,000 small instances, 16 at a time"),
    ],
)
def test_memory_does_not_grow(tmp_path: Path, size: int, times: int, window: int) -> None:
    head = file_meta(Instance(CT, "1.2.3", EXPLICIT))
    small, file = tmp_path / "small.dcm", tmp_path / "file.dcm"
    small.write_bytes(head + bytes(1000))
    with file.open("wb") as opened:
        opened.write(head)
        opened.truncate(size)  # sparse: it takes no room on the disk

    arguments = [str(small), str(file), str(times), str(window), EXPLICIT, CT]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True, timeout=100
    )

    assert int(done.stdout) < GROWTH
