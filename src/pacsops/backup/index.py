"""Orthanc's index against the files of its storage.

Source: Orthanc's PostgreSQL plugin, PrepareIndex.sql: table AttachedFiles (fileType 1 is the DICOM file itself,
compressedHash the MD5 of the file as stored).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg2.extensions

from pacsops.backup.postgres import Server, query

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Attachment:
    """A DICOM file, as the index knows it."""

    uuid: str
    octets: int
    md5: str
    """Empty when Orthanc was told not to compute it (StoreMD5ForAttachments)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The index against the storage."""

    rows_without_file: int
    """Lost images, or such as were deleted between the dump of the index and the reading of the storage."""
    files_without_row: int
    """Images that came after the dump; Orthanc does not know them."""
    examples: tuple[str, ...]
    """uuids of rows without a file."""
    sample: tuple[Attachment, ...]
    """Some of those with a row and a file, at random."""


def compare(server: Server, database: str, attachments: Iterable[str], *, sample: int) -> Comparison | None:
    """Compare; None when the index is of an Orthanc that never started."""
    with server.session(database) as connection:
        if query(connection, "SELECT to_regclass('attachedfiles')")[0][0] is None:
            return None
        _load(connection, attachments)
        unstored = "FROM attachedfiles a WHERE NOT EXISTS (SELECT FROM stored s WHERE s.uuid = a.uuid)"
        unknown = "FROM stored s WHERE NOT EXISTS (SELECT FROM attachedfiles a WHERE a.uuid = s.uuid)"
        chosen = query(
            connection,
            "SELECT a.uuid, a.compressedsize, coalesce(a.compressedhash, '') FROM attachedfiles a JOIN stored s"
            " ON s.uuid = a.uuid WHERE a.filetype = 1 ORDER BY random() LIMIT %s",
            [sample],
        )
        return Comparison(
            rows_without_file=query(connection, f"SELECT count(*) {unstored}")[0][0],
            files_without_row=query(connection, f"SELECT count(*) {unknown}")[0][0],
            examples=tuple(row[0] for row in query(connection, f"SELECT a.uuid {unstored} LIMIT {_EXAMPLES}")),
            sample=tuple(Attachment(*row) for row in chosen),
        )


def _load(connection: psycopg2.extensions.connection, attachments: Iterable[str]) -> None:
    """A temporary table of the uuids that the storage has, hashed and counted by PostgreSQL."""
    with connection.cursor() as cursor, tempfile.TemporaryFile("w+", encoding="ascii") as lines:
        lines.writelines(f"{uuid}\n" for uuid in attachments)
        lines.seek(0)
        cursor.execute("CREATE TEMPORARY TABLE stored (uuid varchar(64) NOT NULL)")
        cursor.copy_expert("COPY stored FROM STDIN", lines)
        cursor.execute("ANALYZE stored")
