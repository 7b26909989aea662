"""What the edge demo's PACS, its Orthanc, has of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stage import StoryEnds

from pacsops.errors import PacsopsError
from pacsops.orthanc import Orthanc
from pacsops.settings import Settings

RESULT = "AI_RESULT"
"""The SeriesDescription of what an AI worker makes."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Images of one study."""

    descriptions: Mapping[str, str]
    """SeriesDescription by SOP instance UID."""

    @property
    def originals(self) -> set[str]:
        return {uid for uid, description in self.descriptions.items() if description != RESULT}

    @property
    def results(self) -> set[str]:
        return {uid for uid, description in self.descriptions.items() if description == RESULT}


class Pacs:
    """Orthanc, asked by REST with the site's own settings."""

    def __init__(self, demo: Path) -> None:
        self._client = Orthanc.of(Settings.load(demo / ".env"))

    def has(self, study_uid: str) -> Holding:
        """Its images of a study; none where it does not know it.

        Raises:
            StoryEnds: Orthanc does not answer.
        """
        query = {"Level": "Series", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
        try:
            found = self._client.ask("/tools/find", query)
            return Holding(
                {
                    image["MainDicomTags"]["SOPInstanceUID"]: series["MainDicomTags"].get("SeriesDescription", "")
                    for series in found
                    for image in self._client.get(f"/series/{series['ID']}/instances")
                }
            )
        except PacsopsError as error:
            raise StoryEnds("the PACS does not answer", [str(error)]) from error
