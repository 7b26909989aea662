"""Writing the append-only timeline, in the transaction of what it tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pacsops.database import Transaction
from pacsops.delivery import sql
from pacsops.delivery.model import Event


def record(tx: Transaction, event: Event, delivery: Mapping[str, Any], **detail: Any) -> None:
    """One event of a delivery. `delivery` is the row a transition returned; `detail` values are JSON or datetimes."""
    _insert(
        tx,
        event,
        source=delivery["source"],
        study_id=delivery["study_id"],
        delivery_id=delivery["id"],
        route_name=delivery["route_name"],
        destination=delivery["destination"],
        attempt=delivery["attempt_count"],
        detail=detail,
    )


def record_all(tx: Transaction, event: Event, rows: Sequence[Mapping[str, Any]], **detail: Any) -> None:
    """The same event of many deliveries, in one statement: an order may be about tens of thousands."""
    if rows:
        tx.run(sql.RECORD_ALL, event=event.value, ids=[row["id"] for row in rows], detail=_as_json(detail))


def record_study(
    tx: Transaction, event: Event, source: str, study_id: str, *, destination: str | None = None, **detail: Any
) -> None:
    """One event of a study as a whole."""
    _insert(tx, event, source=source, study_id=study_id, destination=destination, detail=detail)


def record_site(tx: Transaction, event: Event, *, destination: str | None = None, **detail: Any) -> None:
    """One event of a destination or of the configuration."""
    _insert(tx, event, destination=destination, detail=detail)


def _insert(tx: Transaction, event: Event, detail: Mapping[str, Any], **columns: Any) -> None:
    row = {"source": "orthanc", "study_id": None, "delivery_id": None, "route_name": None, "destination": None}
    row |= {"attempt": None, **columns}
    tx.run(sql.RECORD_EVENT, event=event.value, detail=_as_json(detail), **row)


def _as_json(detail: Mapping[str, Any]) -> str:
    said = {key: value for key, value in detail.items() if value is not None}
    return json.dumps(said, default=lambda value: value.isoformat())
