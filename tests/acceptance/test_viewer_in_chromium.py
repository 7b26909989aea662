"""A person opens studies in the deployed viewer: OHIF from npm, the roles' nginx, a real Orthanc, a real Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydicom import dcmread
from pydicom.data import get_testdata_file
from tests.support.orthanc import OrthancServer
from tests.support.phantom import chest
from tests.support.viewer import CHECKOUT, USER, USERS_PASSWORD, Viewer, orthanc_with_dicomweb

pytestmark = pytest.mark.timeout(600)

HERE = Path(__file__).parent
SCREENSHOT = CHECKOUT / "build" / "viewer.png"
"""docs/images/viewer.png is a copy of it."""
COMPRESSED = ("MR_small_jp2klossless.dcm", "SC_rgb_jpeg_gdcm.dcm", "JPEG2000.dcm")
"""As scanners send them: the browser decodes JPEG 2000, JPEG lossless and lossy ones by WebAssembly."""


@pytest.fixture(scope="module")
def archive() -> Iterator[OrthancServer]:
    with orthanc_with_dicomweb() as orthanc:
        orthanc.upload(chest("chest").datasets)
        orthanc.upload(dcmread(compressed(name)) for name in COMPRESSED)
        yield orthanc


@pytest.fixture(scope="module")
def viewer(archive: OrthancServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("viewer")
    with Viewer(folder, archive, folder / "home" / "viewer" / "ohif", programs_too=True) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """look.js with what it needs beside it."""
    assert Path("/usr/bin/chromium").exists(), "as root: apt-get install chromium"
    folder = tmp_path_factory.mktemp("browser")
    for name in ("look.js", "package.json"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=180)
    return folder / "look.js"


def test_studies_are_found_opened_and_seen(viewer: Viewer, browser: Path) -> None:
    phantom = chest("chest")
    studies: list[dict[str, Any]] = [
        {"uid": phantom.study_uid, "name": "CHEST SYNTHETIC", "screenshot": str(SCREENSHOT)}
    ]
    studies += [{"uid": dcmread(compressed(name), stop_before_pixels=True).StudyInstanceUID} for name in COMPRESSED]
    SCREENSHOT.parent.mkdir(exist_ok=True)
    asked = {
        "url": viewer.url,
        "user": USER,
        "password": USERS_PASSWORD,
        "key": public_key(viewer),
        "studies": studies,
    }

    looked = subprocess.run(
        ["node", str(browser)], input=json.dumps(asked), capture_output=True, text=True, timeout=500, check=False
    )

    assert looked.returncode == 0, looked.stderr + viewer.log[-3000:]
    seen = json.loads(looked.stdout)
    assert "INVALID_AUTH_CREDENTIALS" in seen["turnedAway"], "without a password"
    assert seen["listed"] == ["CHEST SYNTHETIC"]
    assert [each["uid"] for each in seen["seen"]] == [study["uid"] for study in studies]
    assert seen["shared"], "memory shared with workers"
    assert seen["complaints"] == []
    assert seen["outside"] == [], "nothing is asked of other servers"


def test_a_second_run_leaves_the_programs_alone(viewer: Viewer) -> None:
    assert "changed=0" in viewer.configure("--diff")


def compressed(name: str) -> str:
    """Of the files that pydicom ships."""
    return str(get_testdata_file(name, download=False))


def public_key(viewer: Viewer) -> str:
    """The SHA-256 of the viewer's public key, as Chromium takes it."""
    pem = (viewer.home / "config" / "certificates" / "viewer.crt").read_bytes()
    key = (
        x509.load_pem_x509_certificate(pem).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
