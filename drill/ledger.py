"""What a sender was promised, and what a peer has: lines that are added to files, one an image."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Entry:
    """An image whose C-STORE was answered with 0000H."""

    study_uid: str
    sop_instance_uid: str
    digest: str
    """SHA-256 of the data set."""
    modality: str
    kind: str
    """`new`; `late`: its study had been sent before; `twin`: its UID had been sent before, with another content."""


class Ledger:
    """Written by the sender: an entry is on the disk when `add` returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, entry: Entry) -> None:
        line = f"{entry.study_uid} {entry.sop_instance_uid} {entry.digest} {entry.modality} {entry.kind}\n"
        os.write(self._descriptor, line.encode())
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class Journal:
    """Written by a peer, before it answers."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, sop_instance_uid: str, digest: str) -> None:
        os.write(self._descriptor, f"{sop_instance_uid} {digest}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


class Lines:
    """Reads what was added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.all: list[tuple[str, ...]] = []

    def look(self) -> Self:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._at += len(whole) + len(newline)
            self.all += [tuple(line.split()) for line in whole.decode().splitlines()]
        return self


def digest(data_set: bytes | memoryview) -> str:
    return hashlib.sha256(data_set).hexdigest()
