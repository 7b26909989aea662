"""From a file under reception to one that survives a power failure, by its final name.

In this order: fsync of the file, a second name for it (never in place of another file), its first name away, fsync of
the folder. Only then may anybody be told that it is safe. A folder's fsync is shared by all who wait for it, and the
kernel shares the journal's commits among the fsyncs of files that run in several threads.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsops.dimse import StoredInstance, UnreadableFile
from pacsops.gateway.part import Part
from pacsops.gateway.spool import file_name

MOST_VERSIONS: Final = 100
"""Different contents of one SOPInstanceUID that are kept. Each further one is compared with all of them."""
_KNOWN_FOLDERS: Final = 64
_PIECE: Final = 1 << 20


class TooManyVersions(Exception):
    """An instance comes with yet another content."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an instance that is durable now."""

    file: str
    """Its name below the spool."""
    new: bool
    """False: it was there already, byte by byte."""
    version: int
    """1 unless other contents of its SOPInstanceUID were there before."""


class Keeper:
    """Keeps parts in one spool; its methods may be called from many threads.

    Raises:
        OSError: the spool cannot be opened.
    """

    def __init__(self, spool: Path) -> None:
        self._path = spool
        self._spool = Folder(spool)
        self._folders: OrderedDict[str, Folder] = OrderedDict()
        """Those whose names in the spool are durable."""
        self._guard = threading.Lock()

    def keep(self, part: Part, study_uid: str, sop_instance_uid: str) -> Kept:
        """Make it durable as an instance of a study. The part is closed in any case.

        Raises:
            OSError: it is not durable, and no file of its name is there but for where the last fsync failed.
            TooManyVersions: it was not kept.
        """
        try:
            os.fsync(part.descriptor)
            folder, kept = self._named(part, study_uid, sop_instance_uid)
        finally:
            part.close()
        try:
            folder.sync()
        except OSError:
            self._forget(study_uid)
            raise
        return kept

    def _named(self, part: Part, study_uid: str, sop_instance_uid: str) -> tuple[Folder, Kept]:
        version = 1
        while version <= MOST_VERSIONS:
            folder = self._folder(study_uid)
            file = file_name(study_uid, sop_instance_uid, version)
            try:
                os.link(part.path, os.path.basename(file), dst_dir_fd=folder.descriptor)  # noqa: PTH119 (text)
            except FileExistsError:
                if _equal(self._path / file, part.path):
                    return folder, Kept(file, False, version)
                version += 1
            except FileNotFoundError:
                if not folder.gone:
                    raise
                self._forget(study_uid)  # its last file was removed meanwhile, and it
            else:
                return folder, Kept(file, True, version)
        raise TooManyVersions

    def _folder(self, study_uid: str) -> Folder:
        """The study's folder, whose own name is durable."""
        with self._guard:
            folder = self._folders.get(study_uid)
            if folder is not None:
                self._folders.move_to_end(study_uid)
                return folder
        path = self._path / study_uid
        path.mkdir(mode=0o750, exist_ok=True)
        folder = Folder(path)
        # Also where it was there: who made it may not have come to this yet.
        self._spool.sync()
        with self._guard:
            self._folders[study_uid] = folder
            while len(self._folders) > _KNOWN_FOLDERS:
                self._folders.popitem(last=False)
        return folder

    def _forget(self, study_uid: str) -> None:
        with self._guard:
            self._folders.pop(study_uid, None)


class Folder:
    """An open folder: what is named in it by its descriptor is in this folder, and in no other of the same path.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._next: Future[None] | None = None
        """The fsync that has not begun yet."""

    def __del__(self) -> None:
        # Threads may still use one that is forgotten: it is closed by the last of them.
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    @property
    def gone(self) -> bool:
        """Whether it was removed."""
        return os.fstat(self.descriptor).st_nlink == 0

    def sync(self) -> None:
        """Make durable what was named in it before this call.

        Raises:
            OSError: it is not.
        """
        with self._guard:
            group = self._next
            leading = group is None
            if group is None:
                group = self._next = Future()
        if leading:
            with self._turn:  # until the fsync before is over; others join this one meanwhile
                with self._guard:
                    self._next = None
                try:
                    os.fsync(self.descriptor)
                except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                    group.set_exception(error)
                else:
                    group.set_result(None)
        group.result()


def _equal(kept: Path, part: Path) -> bool:
    """Whether two files hold the same data set in the same transfer syntax. Who sent them does not matter."""
    try:
        with StoredInstance(kept) as one, StoredInstance(part) as other:
            if one.instance != other.instance or one.length != other.length:
                return False
            return all(
                _piece(one, at, min(_PIECE, one.length - at)) == _piece(other, at, min(_PIECE, one.length - at))
                for at in range(0, one.length, _PIECE)
            )
    except UnreadableFile:
        return False


def _piece(stored: StoredInstance, at: int, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    done = 0
    while done < size and (read := stored.read_into([view[done:]], stored.offset + at + done)):
        done += read
    return content
