"""The viewer, as a browser meets it: TLS of the site's own authority, a password, and the studies Orthanc holds."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import uuid
from base64 import b64encode

from tests.support.deployed import Site
from tests.support.network import eventually

PORT = 8008


def asked(site: Site, path: str, password: str | None) -> tuple[int, bytes]:
    """Status and body of a GET. ssl.SSLError unless the viewer shows a certificate of the site for its host."""
    host = site.with_service("viewer")
    trusted = ssl.create_default_context(cafile=site.authority)
    connection = http.client.HTTPSConnection(host.name, PORT)
    # This machine has no name for that host; the certificate is checked against it all the same.
    plain = socket.create_connection((host.says("hostname -i").split()[0], PORT), timeout=20)
    connection.sock = trusted.wrap_socket(plain, server_hostname=host.name)
    login = (
        {} if password is None else {"Authorization": "Basic " + b64encode(f"viewer:{password}".encode()).decode()}
    )
    try:
        connection.request("GET", path, headers={**login, "Accept": "application/dicom+json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_viewer_asks_for_a_password(site: Site) -> None:
    assert asked(site, "/", None)[0] == 401
    assert asked(site, "/", "not this one at all")[0] == 401
    status, page = asked(site, "/", site.secrets["viewer"])
    assert status == 200
    assert b"<title>" in page


def test_a_study_that_came_in_is_found_by_the_viewer(site: Site) -> None:
    accession = f"VIEW-{uuid.uuid4().hex[:8]}"
    site.scan(accession)

    def found() -> list[object]:
        status, body = asked(site, f"/dicom-web/studies?AccessionNumber={accession}", site.secrets["viewer"])
        return list(json.loads(body)) if status == 200 else []

    assert len(eventually(found, within=20, what=f"the viewer finding {accession}")) == 1
