"""A demo's site that is deployed, who sits at it, and the scanner whose button is pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import requests
from pydicom import dcmwrite
from tests.support.demo_site import DemoSite
from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.seat import Seat

from pacsops.dicom.synthetic import Study
from pacsops.settings import Settings


class Hospital:
    """A deployed site, who sits at it, and its scanner."""

    def __init__(self, site: DemoSite, seat: Seat) -> None:
        self.site = site
        self.seat = seat

    def scan(self, accession: str) -> int:
        """Push the scanner's button; the HTTP status it answers with."""
        button = f"http://127.0.0.1:{self.site.ports['demo_scanner_button_port']}/send?accession={accession}"
        return requests.post(button, timeout=60).status_code

    def store(self, description: str, accession: str) -> None:
        """An image of another kind of study arrives."""
        study = Study(patient_name="ROE^JANE", study_description=description, accession_number=accession)
        study.add_series("CR")
        content = BytesIO()
        dcmwrite(content, study.datasets[0], enforce_file_format=True)
        known = Settings.load(self.site.home / ".env")
        account = (known.orthanc_username, known.orthanc_password)
        stored = requests.post(f"{known.orthanc_url}/instances", data=content.getvalue(), auth=account, timeout=30)
        assert stored.ok, stored.text

    def is_well(self) -> None:
        """Wait until nothing needs attention, as before every drill."""

        def well() -> bool:
            found = json.loads(self.site.orthanc("status", "--json").stdout)["issues"]
            return all("answers slowly" in issue["message"] for issue in found)

        eventually(well, within=90, what="a site that is well")

    def has_taken(self, destination: str) -> bool:
        listed = json.loads(self.site.orthanc("destinations", "--json").stdout)["destinations"]
        return any(each["name"] == destination and each["last_success_at"] for each in listed)

    @contextmanager
    def modlink_is(self, **behaviour: object) -> Iterator[None]:
        """MODLINK behaves like this meanwhile, instead of as it should."""
        self.site.control("stop", "modlink")
        peer = Peer("MODLINK", **behaviour)  # type: ignore[arg-type]
        peer.port = self.site.ports["demo_first_neighbour_port"] + 4
        with peer:
            yield
        self.site.control("start", "modlink")

    @contextmanager
    def routes(self, old: str, new: str) -> Iterator[None]:
        """The routes.yml in place is changed by hand; what was there is put back, if nobody did."""
        file = self.site.home / "config" / "routes.yml"
        before = file.read_text()
        assert old in before
        file.write_text(before.replace(old, new))
        yield
        file.write_text(before)
