"""Our own DICOM network, for tests: an acceptor that remembers, files of every transfer syntax, DCMTK's programs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, ParamSpec

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import UID, AllTransferSyntaxes, generate_uid
from tests.support.network import accepts, eventually, free_port

from pacsops.dicom.synthetic import Study
from pacsops.dimse import (
    Acceptor,
    Answer,
    Association,
    AssociationRejected,
    Context,
    Handlers,
    Peer,
    Policy,
    StoreRequest,
    Terms,
    associate,
    serve,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ECHO = [Context(VERIFICATION)]
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = [str(uid) for uid in AllTransferSyntaxes]
P = ParamSpec("P")


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own. What the loop was told of and nobody caught fails it."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            uncaught: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: uncaught.append(context))
            await asyncio.wait_for(_awaited(test(*args, **kwargs)), 60)
            assert not uncaught

        asyncio.run(body())

    return run


async def _awaited(one: Awaitable[None]) -> None:
    await one


def policy(**others: Any) -> Policy:
    """Everybody may do everything, unless said otherwise; who hangs is noticed soon."""
    return Policy(**{"transfer_syntaxes": lambda _: SYNTAXES, "artim": 5, "patience": 5, "idle": 20, **others})


@dataclass
class Kept:
    """One instance that was received."""

    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_aet: str
    length: int
    sha256: str
    content: bytes = field(repr=False)
    """The data set."""


@dataclass
class Receiver:
    """Takes instances, and remembers what they were."""

    answer: Answer = field(default_factory=Answer)
    kept: list[Kept] = field(default_factory=list)
    begun: int = 0
    broken: int = 0

    async def store(self, request: StoreRequest) -> Answer:
        self.begun += 1
        content = bytearray()
        try:
            async for fragments in request:
                for fragment in fragments:
                    content += fragment
        except Exception:
            self.broken += 1
            raise
        instance = request.instance
        self.kept.append(
            Kept(
                instance.sop_instance_uid,
                instance.transfer_syntax_uid,
                request.caller.aet,
                len(content),
                hashlib.sha256(content).hexdigest(),
                bytes(content),
            )
        )
        return self.answer


@asynccontextmanager
async def receiving(receiver: Receiver | None = None, **terms: Any) -> AsyncIterator[tuple[Receiver, Acceptor]]:
    """`terms` are those of the policy, and what `serve` takes besides; `tls` is a context here."""
    receiver = receiver or Receiver()
    where = {"port": 0} | {name: terms.pop(name) for name in ("port", "reuse_port") if name in terms}
    if (context := terms.pop("tls", None)) is not None:
        where["tls"] = lambda: context
    async with serve(
        "127.0.0.1", handlers=Handlers(store=receiver.store), policy=policy(**terms), **where
    ) as acceptor:
        yield receiver, acceptor


@asynccontextmanager
async def connected(
    contexts: Iterable[Context], receiver: Receiver | None = None, *, terms: Terms | None = None, **others: Any
) -> AsyncIterator[tuple[Association, Receiver]]:
    """An association with a receiver of our own; `others` as with `receiving`."""
    async with (
        receiving(receiver, **others) as (receiving_side, acceptor),
        associate(local(acceptor.port), "EDGE", contexts, terms) as association,
    ):
        yield association, receiving_side


def local(port: int, aet: str = "ANY", **others: Any) -> Peer:
    return Peer("127.0.0.1", port, aet, **others)


@dataclass(frozen=True)
class Sample:
    """A DICOM file, and the digest of its data set."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sha256: str


def a_sample(folder: Path, transfer_syntax: str = EXPLICIT, *, size: tuple[int, int] = (64, 64)) -> Sample:
    """A CT image in any transfer syntax; what compressed ones hold as pixels is noise."""
    syntax = UID(transfer_syntax)
    study = Study()
    study.add_series("CT", sizes=[size])
    dataset = study.datasets[0]
    if syntax.is_encapsulated:
        noise = random.Random(1).randbytes(dataset.Rows * dataset.Columns)
        dataset.PixelData = encapsulate([noise])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return _written(folder, dataset)


def _written(folder: Path, dataset: Dataset) -> Sample:
    buffer = BytesIO()
    if not UID(dataset.file_meta.TransferSyntaxUID).is_little_endian:
        dataset["PixelData"].value = _swapped(dataset.PixelData)
    dcmwrite(buffer, dataset, enforce_file_format=True)
    content = buffer.getvalue()
    begin = 144 + int.from_bytes(content[140:144], "little")  # behind the group length, by its value
    path = folder / f"{generate_uid()}.dcm"
    path.write_bytes(content)
    return Sample(
        path,
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.file_meta.TransferSyntaxUID),
        hashlib.sha256(content[begin:]).hexdigest(),
    )


def _swapped(words: bytes) -> bytes:
    swapped = bytearray(words)
    swapped[0::2], swapped[1::2] = words[1::2], words[0::2]
    return bytes(swapped)


async def rejection(port: int, *, called: str = "ANY", calling: str = "EDGE", terms: Terms | None = None) -> Any:
    """Result, source and reason of the rejection that is met, and the words for them."""
    with pytest.raises(AssociationRejected) as rejected:
        async with associate(local(port, called), calling, ECHO, terms):
            pass
    error = rejected.value
    return error.result, error.source, error.reason, str(error)


async def dcmtk(program: str, *arguments: object) -> tuple[int, str]:
    """Exit code and output of one of DCMTK's programs."""
    process = await asyncio.create_subprocess_exec(
        f"/usr/bin/{program}", *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


@asynccontextmanager
async def storescp(folder: Path, *options: object) -> AsyncIterator[int]:
    """DCMTK's receiver, writing exactly what it reads into `folder`; its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/storescp", "+B", "-od", str(folder), *map(str, options), str(port), stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        await asyncio.to_thread(eventually, lambda: accepts(port), what="storescp listening")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.contextmanager
def misbehaving(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose first caller meets `behave`, in a thread of its own; its port."""

    def answer() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()
