"""What a receiver took and refused, as lines of its log: no line an instance, and no name of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pacsops.dimse import Answer
from pacsops.gateway.durable import Kept
from pacsops.observe.logs import EventLog

_LOG = EventLog("gateway")


@dataclass
class _Sum:
    instances: int = 0
    bytes: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Tally:
    """Sums by calling AE title; `tell` logs them and begins anew. The first refusal of a kind is logged at once."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}

    def kept(self, calling_aet: str, kept: Kept, size: int) -> None:
        """`size`: bytes of the file."""
        sums = self._sums.setdefault(calling_aet, _Sum())
        if kept.new:
            sums.instances += 1
            sums.bytes += size
        else:
            sums.duplicates += 1
        if kept.new and kept.version > 1:
            _LOG.warning("other_content_kept_beside", calling_aet=calling_aet, instances=kept.version)

    def refused(self, calling_aet: str, answer: Answer) -> None:
        refused = self._sums.setdefault(calling_aet, _Sum()).refused
        if not refused[str(answer)]:
            _LOG.error(
                "instance_refused",
                calling_aet=calling_aet,
                status=f"{answer.status:04X}",
                error=answer.comment,
            )
        refused[str(answer)] += 1

    def tell(self) -> None:
        sums, self._sums = self._sums, {}
        for calling_aet, one in sums.items():
            _LOG.info(
                "received",
                calling_aet=calling_aet,
                instances=one.instances,
                bytes=one.bytes,
                duplicates=one.duplicates or None,
                refused=one.refused.total() or None,
            )
