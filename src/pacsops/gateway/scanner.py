"""A simulated scanner: sends images to one DICOM peer, one after the other, and tells what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from pacsops.dimse import (
    Association,
    DimseError,
    OperationFailed,
    Peer,
    StoredInstance,
    UnreadableFile,
    contexts_to_store,
    request_association,
)
from pacsops.gateway.images import Draft

Outcome = Literal["sent", "refused", "not sent"]
_MOST_CONTEXTS: Final = 128
"""Of an association (PS3.8 9.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one image."""

    source: str
    study_uid: str
    sop_instance_uid: str
    outcome: Outcome
    """refused: the peer answered with a failure. not sent: it never got it whole."""
    status: int | None = None
    """The peer's DIMSE status, where it answered."""
    reason: str | None = None
    """Why it was not taken, or with which warning it was."""
    milliseconds: float | None = None
    """From its first byte to the answer."""


@dataclass(slots=True)
class Report:
    """What became of all images, in their order."""

    images: list[Sent] = field(default_factory=list)
    seconds: float = 0.0
    bytes_sent: int = 0
    """Of data sets the peer took."""

    def count(self, outcome: Outcome) -> int:
        return sum(image.outcome == outcome for image in self.images)

    def latency(self, share: float) -> float | None:
        """Milliseconds within which this share of the answers came; None: none did."""
        times = sorted(image.milliseconds for image in self.images if image.milliseconds is not None)
        return times[min(len(times) - 1, int(share * len(times)))] if times else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Who sends to whom, and how.

    Args:
        delay: seconds between images.
        keep: a folder for what was made or written over.
    """

    peer: Peer
    aet: str
    delay: float = 0.0
    keep: Path | None = None

    def send(self, drafts: Sequence[Draft], tell: Callable[[Sent], None] = lambda _: None) -> Report:
        """Make and send the images in their order; `tell` is told of each.

        Raises:
            DimseError: there is no association at all. One that ends later is told of in the report.
            OSError: `keep` cannot be written to.
        """
        return asyncio.run(self._send(drafts, tell))

    async def _send(self, drafts: Sequence[Draft], tell: Callable[[Sent], None]) -> Report:
        report = Report()
        started = time.perf_counter()
        for group in _groups(drafts):
            contexts = contexts_to_store(draft.original.instance for draft in group)
            try:
                association = await request_association(self.peer, self.aet, contexts)
            except DimseError as error:
                if not report.images:
                    raise
                for draft in group:
                    _note(report, tell, _not_sent(draft, error))
                continue
            try:
                for draft in group:
                    if self.delay and report.images and association.ended is None:
                        await asyncio.sleep(self.delay)
                    _note(report, tell, await self._sent(association, draft, report))
            finally:
                await association.release()
        report.seconds = time.perf_counter() - started
        return report

    async def _sent(self, association: Association, draft: Draft, report: Report) -> Sent:
        if association.ended is not None:
            return _not_sent(draft, association.ended)
        try:
            image = draft.make()
        except UnreadableFile as error:
            return _not_sent(draft, error)
        if self.keep is not None and isinstance(image.content, bytes):
            (self.keep / f"{image.sop_instance_uid}.dcm").write_bytes(image.content)
        told = partial(Sent, source=image.source, study_uid=image.study_uid, sop_instance_uid=image.sop_instance_uid)
        started = time.perf_counter()
        try:
            with StoredInstance(image.content) as stored:
                answer = await association.store(stored)
                report.bytes_sent += stored.length
        except OperationFailed as error:
            return told(
                outcome="refused", status=error.status, reason=str(error), milliseconds=_milliseconds(started)
            )
        except DimseError as error:
            return told(outcome="not sent", reason=str(error))
        warning = str(answer) if answer.status else None
        return told(outcome="sent", status=answer.status, reason=warning, milliseconds=_milliseconds(started))


def _note(report: Report, tell: Callable[[Sent], None], sent: Sent) -> None:
    report.images.append(sent)
    tell(sent)


def _not_sent(draft: Draft, error: DimseError) -> Sent:
    original = draft.original
    return Sent(
        source=original.source,
        study_uid=original.study_uid,
        sop_instance_uid=original.instance.sop_instance_uid,
        outcome="not sent",
        reason=str(error),
    )


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


def _groups(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """The images in their order, cut where an association has no room for another kind of them."""
    group: list[Draft] = []
    kinds: set[tuple[str, str]] = set()
    for draft in drafts:
        instance = draft.original.instance
        kinds.add((instance.sop_class_uid, instance.transfer_syntax_uid))
        if len(kinds) > _MOST_CONTEXTS:
            yield group
            group, kinds = [], {(instance.sop_class_uid, instance.transfer_syntax_uid)}
        group.append(draft)
    if group:
        yield group
