"""Another Orthanc as a destination: it answers C-FIND and storage commitment, and can lose images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.orthanc import OrthancServer

from pacsops.orthanc import Modality


class Archive(OrthancServer):
    """A destination that keeps what it takes until a test says otherwise."""

    aet = "ARCHIVE"

    def __init__(self, **options: Any) -> None:
        super().__init__(options={"DicomAlwaysAllowFind": True, **options})

    def modality(self, name: str | None = None) -> Modality:
        """How the sending Orthanc should know it."""
        return Modality(name=name or self.aet, aet=self.aet, host="127.0.0.1", port=self.dicom_port)

    def reports_to(self, sender: OrthancServer, *, port: int | None = None) -> None:
        """It knows the sender (at its port, or another), to tell it what became of a storage commitment."""
        known = Modality(name="SENDER", aet=sender.aet, host="127.0.0.1", port=port or sender.dicom_port)
        self.client.put("/modalities/SENDER", known.resource())

    @property
    def uids(self) -> list[str]:
        """SOP instance UIDs it holds."""
        images = self.client.get("/instances", params={"expand": ""})
        return sorted(image["MainDicomTags"]["SOPInstanceUID"] for image in images)

    def loses(self, sop_uids: Iterable[str]) -> None:
        """It forgets these images."""
        for uid in sop_uids:
            for found in self.client.ask("/tools/lookup", uid):
                self.client.delete(f"/instances/{found['ID']}")
