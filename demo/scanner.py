"""SCANNER's push button: POST /send takes a bone-length study of four images and sends it to Orthanc."""

from __future__ import annotations

import json
import re
import secrets
import threading
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from network import Neighbour, NotTaken, Orthanc, say, store
from pydicom import Dataset

from pacsops.dicom.synthetic import Study

SIZES = ((300, 240), (420, 340), (960, 400), (640, 320))
"""Rows and columns of the four images: hip, knee, the whole leg (the largest), ankle."""

# SH (PS3.5 6.2): 16 characters, none of them a control character or a backslash. Plainer still here.
_ACCESSION = re.compile(r"[A-Za-z0-9._-]{1,16}")


class Button:
    """HTTP: `curl -X POST http://127.0.0.1:11121/send?accession=A1`."""

    def __init__(self, neighbour: Neighbour, orthanc: Orthanc) -> None:
        self._neighbour = neighbour
        self._orthanc = orthanc
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen on the control port.

        Raises:
            SystemExit: the port is missing from the configuration, or taken.
        """
        if self._neighbour.control_port is None:
            raise SystemExit(f"{self._neighbour.name} has no control_port")
        button = self

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                address = urlsplit(self.path)
                if address.path != "/send":
                    return self._answer(HTTPStatus.NOT_FOUND, {"error": "POST /send?accession=..."})
                accession = parse_qs(address.query).get("accession", [fresh_accession()])[0]
                return self._answer(*button.push(accession))

            def _answer(self, status: HTTPStatus, content: dict[str, object]) -> None:
                body = json.dumps(content).encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The study sent is the log line; the request adds nothing."""

        address = (self._neighbour.listen, self._neighbour.control_port)
        try:
            self._server = ThreadingHTTPServer(address, Request)
        except OSError as error:
            raise SystemExit(
                f"{self._neighbour.name} cannot listen on port {address[1]}: {error.strerror}"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="button", daemon=True).start()

    def stop(self) -> None:
        """No further pushes; one on its way is finished."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def push(self, accession: str) -> tuple[HTTPStatus, dict[str, object]]:
        """Take one study and send it. The HTTP status and what to say about it."""
        if not _ACCESSION.fullmatch(accession):
            return HTTPStatus.BAD_REQUEST, {"error": "accession: 1 to 16 letters, digits, dots, dashes"}
        images = bone_length(accession)
        try:
            store(images, calling_aet=self._neighbour.aet, orthanc=self._orthanc)
        except NotTaken as error:
            say(self._neighbour, f"could not send study {images[0].StudyInstanceUID}: {error}")
            return HTTPStatus.BAD_GATEWAY, {"error": str(error)}
        say(self._neighbour, f"sent study {images[0].StudyInstanceUID}, {len(images)} images")
        return HTTPStatus.OK, {
            "study_uid": images[0].StudyInstanceUID,
            "accession_number": accession,
            "instances": [
                {"sop_uid": image.SOPInstanceUID, "rows": image.Rows, "columns": image.Columns} for image in images
            ],
        }


def bone_length(accession: str) -> list[Dataset]:
    """A CR study of four images, one of them larger than the rest."""
    study = Study(patient_name="DOE^JOHN", study_description="BONE LENGTH", accession_number=accession)
    study.add_series(
        "CR",
        sizes=SIZES,
        description="Leg length",
        manufacturer="FUJIFILM",
        attributes={"BodyPartExamined": "LEG", "StationName": "CR_ROOM1"},
    )
    return study.datasets


def fresh_accession() -> str:
    """Unique enough for one demo, and short enough to type: `B1121-0306-7f3a`."""
    return f"B{datetime.now():%m%d-%H%M}-{secrets.token_hex(2)}"
