"""Orthanc's log of changes (GET /changes).

Source: https://orthanc.uclouvain.be/book/users/rest.html#tracking-changes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pacsops.orthanc.client import Orthanc


@dataclass(frozen=True, slots=True)
class Change:
    """One row. Rows vanish with their resource; gaps in `seq` are normal."""

    seq: int
    type: str
    """NewInstance, NewSeries, NewStudy, NewPatient, StableSeries, StableStudy, StablePatient, ..."""
    resource_type: str
    resource_id: str
    date: str
    """`YYYYMMDDTHHMMSS`, UTC."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            seq=int(row["Seq"]),
            type=str(row["ChangeType"]),
            resource_type=str(row["ResourceType"]),
            resource_id=str(row["ID"]),
            date=str(row["Date"]),
        )


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """Rows in order, whether these were all, and the `since` of the next page."""

    rows: tuple[Change, ...]
    done: bool
    last: int


def changes(orthanc: Orthanc, since: int, limit: int = 100) -> ChangesPage:
    """Up to `limit` rows with a seq greater than `since`.

    On an empty page `last` is the newest seq of all: less than `since` means an older database was restored.
    """
    answer = orthanc.get("/changes", params={"since": since, "limit": limit})
    rows = tuple(Change.of(row) for row in answer["Changes"])
    return ChangesPage(rows=rows, done=bool(answer["Done"]), last=int(answer["Last"]))


def last_change(orthanc: Orthanc) -> int:
    """The newest seq; 0 when the log is empty. Touches Orthanc's database, so it also proves that one alive."""
    return int(orthanc.get("/changes", params={"last": ""})["Last"])
