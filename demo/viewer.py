"""The edge demo's viewer, asked as a browser asks it."""

from __future__ import annotations

from pathlib import Path

import requests
from stage import StoryEnds

from pacsops.services import read_host

USER = "viewer"


class Viewer:
    """OHIF behind nginx, over TLS; it looks into the PACS by DICOMweb."""

    def __init__(self, demo: Path) -> None:
        service = read_host(demo / "config" / "services.json").services["viewer"]
        self.url = f"https://localhost:{service.health.port}"
        self.password_file = demo / "secrets" / "viewer"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy is between
        self._session.verify = str(demo / "config" / "certificates" / "ca.crt")
        self._session.auth = (USER, self.password_file.read_text().split()[0])

    def page(self, study_uid: str) -> str:
        """Where a person opens a study."""
        return f"{self.url}/viewer?StudyInstanceUIDs={study_uid}"

    def images(self, study_uid: str) -> int:
        """How many images of a study it has to show.

        Raises:
            StoryEnds: it does not answer, or not with its page.
        """
        try:
            page = self._session.get(self.page(study_uid), timeout=10)
            page.raise_for_status()
            answer = self._session.get(f"{self.url}/dicom-web/studies/{study_uid}/instances", timeout=10)
            answer.raise_for_status()
            return len(answer.json()) if answer.content else 0
        except requests.RequestException as error:
            raise StoryEnds("the viewer does not answer", [str(error)]) from error
