"""One file of the spool as ingest sees it: who it is, and what routes may look at."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydicom.datadict import tag_for_keyword

from pacsops.dicom.errors import UnreadableDataSet
from pacsops.dicom.header import ROUTED_TAGS, Header, read_header
from pacsops.dimse.errors import UnreadableFile
from pacsops.dimse.part10 import StoredInstance
from pacsops.gateway.records import Received, Unreadable
from pacsops.gateway.spool import instance_path, is_uid

_SIZES: Final = (64 << 10, 1 << 20, 16 << 20)
"""Bytes of a data set that are looked at: as few as tell all that is wanted."""
_LONGEST_TAG: Final = 4096
"""Characters of a value that are kept."""


def moment_of(found: os.stat_result) -> datetime:
    """When a file of the spool was complete. The same file gives the same moment, to the microsecond."""
    return datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1_000_000, UTC)


def read(spool: Path, file: str, keywords: Collection[str]) -> Received | Unreadable:
    """One file of the spool; `keywords` are what routes look at besides what every route may.

    Raises:
        FileNotFoundError: it is not there (any more).
    """
    folder = file.split("/", 1)[0]
    path = instance_path(spool, file)
    found = path.stat()
    try:
        with StoredInstance(path) as stored:
            header = _header(stored, keywords)
            return _received(file, folder, found, stored, header, keywords)
    except UnreadableFile as error:
        if not path.exists():
            raise FileNotFoundError(file) from error
        # Its message has the path, and so the UIDs: what is kept is for logs too.
        return Unreadable(file, folder, str(error).replace(str(path), "the file"))
    except (UnreadableDataSet, _NotRoutable) as error:
        return Unreadable(file, folder, str(error))


def tags_of(spool: Path, file: str, keywords: Collection[str]) -> dict[str, str | None]:
    """What a file says of these keywords; all None where it cannot be read (any more)."""
    try:
        with StoredInstance(instance_path(spool, file)) as stored:
            header = _header(stored, keywords)
    except (UnreadableFile, UnreadableDataSet):
        return dict.fromkeys(keywords)
    return {keyword: _kept(header.get(keyword)) for keyword in keywords}


class _NotRoutable(Exception):
    """The file says of itself what cannot be; the message says what."""


def _header(stored: StoredInstance, keywords: Collection[str]) -> Header:
    wanted = _wanted(frozenset(keywords))
    header = Header({}, cut_short=True)
    for size in _SIZES:
        buffer = bytearray(min(size, stored.length))
        length = stored.read_into([memoryview(buffer)], stored.offset)
        header = read_header(memoryview(buffer)[:length], stored.instance.transfer_syntax_uid, wanted)
        if not header.cut_short or len(buffer) == stored.length:
            break
    return header


@lru_cache(maxsize=16)
def _wanted(keywords: frozenset[str]) -> frozenset[int]:
    return ROUTED_TAGS | {tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}


def _received(
    file: str,
    folder: str,
    found: os.stat_result,
    stored: StoredInstance,
    header: Mapping[str, str],
    keywords: Iterable[str],
) -> Received:
    instance = stored.instance
    tags = {keyword: _kept(value) for keyword, value in header.items()}
    tags |= {keyword: tags.get(keyword) for keyword in keywords}
    received = Received(
        file=file,
        size=found.st_size,
        received_at=moment_of(found),
        study_uid=_uid(header.get("StudyInstanceUID"), "StudyInstanceUID"),
        series_uid=_uid(header.get("SeriesInstanceUID"), "SeriesInstanceUID"),
        sop_instance_uid=_uid(instance.sop_instance_uid, "SOPInstanceUID"),
        sop_class_uid=_uid(instance.sop_class_uid, "SOPClassUID"),
        transfer_syntax_uid=_uid(instance.transfer_syntax_uid, "TransferSyntaxUID"),
        sender_aet=_kept(stored.source_aet.strip()[:16]) or None,
        tags=tags,
    )
    if received.study_uid != folder:
        raise _NotRoutable("it lies in the folder of another study")
    return received


def _uid(value: str | None, keyword: str) -> str:
    if not value:
        raise _NotRoutable(f"it has no {keyword}")
    if not is_uid(value):
        raise _NotRoutable(f"its {keyword} is no UID")
    return value


def _kept(value: str | None) -> str | None:
    """As PostgreSQL takes it: its text has neither NUL nor halves of characters."""
    if value is None:
        return None
    return value[:_LONGEST_TAG].replace("\0", "").encode("utf-8", "replace").decode()
