"""Which images a destination has, asked by C-FIND: what is asked, whoever carries the question.

Source: PS3.4 C.4.1 (C-FIND), C.2.2.2.2 (list of UID matching)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pacsops.errors import DestinationMute

OFFER = "C-FIND for single images"
_IN_ONE_LIST = 64  # UIDs of 64 characters, far below the 64 kB of an explicit VR element

Find = Callable[[str, str, Sequence[str]], Awaitable[set[str]]]
"""Of a study and a series, by their UIDs, the SOP instance UIDs a destination tells: those of the named that it has,
or all where none is named. Raises DestinationMute, with the status where it answered one."""


@dataclass(frozen=True, slots=True)
class Identified:
    """An image by the id its sender knows it by, and by DICOM's."""

    instance_id: str
    study_uid: str
    series_uid: str
    sop_uid: str


@dataclass
class Finder:
    """Asks one destination which images it has, about each series once: several deliveries may be of one."""

    find: Find
    _known: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether it told of any image until now."""
        return any(self._known.values())

    async def lacking(self, images: Iterable[Identified]) -> list[Identified]:
        """Those of the images that the destination does not have.

        A series is asked for whole; what is missing there is asked for again by name, since some archives cut long
        answers short, or refuse them.

        Raises:
            DestinationMute: it cannot be asked, or does not let itself be asked.
            PacsopsError: whoever carries the question cannot, whatever the destination.
        """
        by_series: dict[tuple[str, str], list[Identified]] = {}
        for image in images:
            by_series.setdefault((image.study_uid, image.series_uid), []).append(image)
        return [image for series, wanted in by_series.items() for image in await self._lacking(series, wanted)]

    async def _lacking(self, series: tuple[str, str], wanted: Sequence[Identified]) -> list[Identified]:
        if series not in self._known:
            self._known[series] = await self._whole(series)
        there = self._known[series]
        absent = [image for image in wanted if image.sop_uid not in there]
        for start in range(0, len(absent), _IN_ONE_LIST):
            there |= await self._named(series, [image.sop_uid for image in absent[start : start + _IN_ONE_LIST]])
        return [image for image in absent if image.sop_uid not in there]

    async def _whole(self, series: tuple[str, str]) -> set[str]:
        """What it tells of a series unasked; nothing when that is more than it answers at once."""
        try:
            return await self.find(*series, ())
        except DestinationMute as mute:
            if mute.dimse_status is None:
                raise
            return set()

    async def _named(self, series: tuple[str, str], sop_uids: Sequence[str]) -> set[str]:
        """Which of these it has (list of UID matching); asked for fewer when it refuses so many."""
        try:
            return await self.find(*series, sop_uids)
        except DestinationMute as mute:
            if mute.dimse_status is None or len(sop_uids) == 1:
                raise
        half = len(sop_uids) // 2
        return await self._named(series, sop_uids[:half]) | await self._named(series, sop_uids[half:])
