"""A storage SCP that answers when an instance is on disk: `python -m benchmarks.durable_receiver FOLDER`.

Write, fsync, rename, fsync of the folder, answer. It prints its port and serves until it is terminated.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from pydicom.uid import AllTransferSyntaxes

from pacsops.dimse import Answer, Handlers, Policy, StoreRequest, file_meta, serve


class Folder:
    """Keeps instances as DICOM files, named by their SOP instance UIDs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    async def keep(self, request: StoreRequest) -> Answer:
        final = self._path / request.instance.sop_instance_uid
        partial = final.with_name(f"{final.name}.part")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, file_meta(request.instance, request.caller.aet))
            async for fragments in request:
                os.writev(file, fragments)
            await asyncio.to_thread(self._settle, file, partial, final)
        finally:
            os.close(file)
        return Answer()

    def _settle(self, file: int, partial: Path, final: Path) -> None:
        os.fsync(file)
        partial.rename(final)
        os.fsync(self._descriptor)


async def main(folder: Path) -> None:
    syntaxes = [str(uid) for uid in AllTransferSyntaxes]
    policy = Policy(transfer_syntaxes=lambda _: syntaxes)
    async with serve("127.0.0.1", 0, Handlers(store=Folder(folder).keep), policy) as acceptor:
        print(acceptor.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
