"""A storage SCP of pynetdicom that waits for the disk: `python -m benchmarks.fsyncing_scp FOLDER PORT`.

Write, fsync, rename, fsync of the folder, answer. It serves until it is terminated.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, StoragePresentationContexts, evt

from pacsops.dimse import Instance, file_meta


def main(folder: Path, port: int) -> None:
    directory = os.open(folder, os.O_RDONLY)

    def keep(event: evt.Event) -> int:
        request = event.request
        instance = Instance(
            str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax)
        )
        final = folder / instance.sop_instance_uid
        partial = final.with_name(f"{final.name}.part")
        with partial.open("wb", buffering=0) as file:
            file.write(file_meta(instance) + request.DataSet.getvalue())
            os.fsync(file.fileno())
        partial.rename(final)
        os.fsync(directory)
        return 0x0000

    ae = AE("ANY")
    ae.maximum_associations = 100
    for context in StoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), AllTransferSyntaxes)
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, keep)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
