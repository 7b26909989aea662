"""The viewer's nginx in front of a real Orthanc: who is let in, what they may do, and what browsers are told."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydicom.data import get_testdata_file
from tests.support.network import eventually
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer
from tests.support.viewer import (
    ORTHANC_PASSWORD,
    USER,
    USERS_PASSWORD,
    Viewer,
    orthanc_with_dicomweb,
)

from pacsops.dicom.synthetic import Study

STUDY = Study(seed="viewer", patient_name="SYNTHETIC^VIEWER", study_description="CHEST SYNTHETIC")
STUDY.add_series("CT", instances=3)
PAGE = '<!doctype html><script>window.PUBLIC_URL="/"</script><script src="/app.bundle.0123456789abcdef.js"></script>'


@pytest.fixture(scope="module")
def archive() -> Iterator[OrthancServer]:
    with orthanc_with_dicomweb() as orthanc:
        orthanc.upload(STUDY.datasets)
        yield orthanc


@pytest.fixture(scope="module")
def viewer(archive: OrthancServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("viewer")
    ohif = folder / "ohif"
    ohif.mkdir()
    (ohif / "index.html").write_text(PAGE)
    (ohif / "app.bundle.0123456789abcdef.js").write_text("//")
    (ohif / "app-config.js").write_text("// OHIF's own, which asks a public server")
    with Viewer(folder, archive, ohif) as viewer:
        yield viewer


def test_nobody_gets_in_without_a_password(viewer: Viewer) -> None:
    for path in ("/", "/app-config.js", "/dicom-web/studies", "/system", "/dicom-web/servers"):
        assert viewer.ask(path, login=False).status_code in {401, 404}, path
    assert viewer.ask("/dicom-web/studies", login=False).status_code == 401
    wrong = requests.get(viewer.url, auth=(USER, "a-wrong-password"), verify=str(viewer.authority), timeout=10)
    assert wrong.status_code == 401


def test_the_page_is_ours_whatever_path_ohif_made_of_it(viewer: Viewer) -> None:
    for path in ("/", "/viewer?StudyInstanceUIDs=1.2.3", "/index.html"):
        answer = viewer.ask(path)
        assert (answer.status_code, "PUBLIC_URL" in answer.text) == (200, True), path
    assert "'/dicom-web'" in viewer.ask("/app-config.js").text


def test_studies_and_images_come_from_orthanc(viewer: Viewer) -> None:
    found = viewer.ask("/dicom-web/studies?PatientName=SYNTHETIC%5EVIEWER&includefield=00080060%2C00081030").json()
    frames = viewer.ask(instance_path(0) + "/frames/1", headers={"Accept": "multipart/related; transfer-syntax=*"})

    [study] = found
    assert study["0020000D"]["Value"] == [STUDY.study_uid]
    assert study["00081030"]["Value"] == ["CHEST SYNTHETIC"]
    assert study["00081190"]["Value"] == [f"{viewer.url}/dicom-web/studies/{STUDY.study_uid}"]
    assert STUDY.datasets[0].PixelData in frames.content


def test_metadata_that_images_are_decoded_by_is_complete(viewer: Viewer) -> None:
    series = STUDY.datasets[0].SeriesInstanceUID
    metadata = viewer.ask(f"/dicom-web/studies/{STUDY.study_uid}/series/{series}/metadata").json()

    assert [entry["00280010"]["Value"] for entry in metadata] == [[16]] * 3  # Rows


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(method: str, viewer: Viewer, archive: OrthancServer) -> None:
    body = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    for path in ("/dicom-web/studies", f"/dicom-web/studies/{STUDY.study_uid}", "/instances", "/"):
        assert viewer.ask(path, method, data=body).status_code in {405, 413}, path

    assert archive.client.get("/statistics")["CountInstances"] == 3


@pytest.mark.parametrize(
    "path",
    [
        "/system",
        "/studies",
        "/dicom-web/servers",
        "/dicom-web/app/client/index.html",
        "/dicom-web/studies/../servers",
        "/dicom-web/servers/../studies/../../system",
        "/dicom-web/studies/%2e%2e/%2e%2e/system",
        "/dicom-web/studies%2f..%2f..%2fsystem",
        "/dicom-web/studies/1%0d%0aX-Injected:%201",
        "//dicom-web/servers",
    ],
)
def test_no_other_part_of_orthanc_is_reached(path: str, viewer: Viewer) -> None:
    answer = viewer.ask(path)

    assert answer.status_code in {400, 404} or "PUBLIC_URL" in answer.text, answer.text


def test_orthanc_is_asked_as_the_viewer_and_no_browser_sees_its_password(
    viewer: Viewer, archive: OrthancServer
) -> None:
    answer = viewer.ask("/dicom-web/studies", headers={"Cookie": "session=1"})

    assert ORTHANC_PASSWORD not in str(answer.headers) + answer.text
    assert PASSWORD not in viewer.ask("/app-config.js").text
    assert USERNAME != USER  # nginx' users are not Orthanc's
    direct = requests.get(f"{archive.url}/system", auth=(USER, USERS_PASSWORD), timeout=10)
    assert direct.status_code == 401


def test_browsers_are_told_to_be_careful(viewer: Viewer) -> None:
    page = viewer.ask("/")
    policy = page.headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "camera=()" in page.headers["Permissions-Policy"]
    assert page.headers["Server"] == "nginx"
    denied = viewer.ask("/", login=False)
    assert denied.headers["Strict-Transport-Security"], "on errors too"


def test_the_pages_own_scripts_alone_may_run_and_by_another_word_each_time(viewer: Viewer) -> None:
    nonces = set()
    for page in (viewer.ask("/"), viewer.ask("/")):
        [nonce] = set(re.findall(r'<script nonce="([0-9a-f]{32})">', page.text))
        assert f"'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
        nonces.add(nonce)

    assert len(nonces) == 2


def test_only_what_never_changes_is_kept_by_browsers(viewer: Viewer) -> None:
    for path in ("/", "/app-config.js", "/dicom-web/studies", instance_path(0) + "/frames/1"):
        assert viewer.ask(path).headers["Cache-Control"] == "no-store", path
    assert "immutable" in viewer.ask("/app.bundle.0123456789abcdef.js").headers["Cache-Control"]


def test_plain_http_only_sends_browsers_to_tls(viewer: Viewer) -> None:
    answer = requests.get(f"http://localhost:{viewer.http_port}/viewer?a=b", allow_redirects=False, timeout=10)

    assert (answer.status_code, answer.headers["Location"]) == (301, f"{viewer.url}/viewer?a=b")


@pytest.mark.parametrize(("version", "works"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_old_tls_is_refused(version: str, works: bool, viewer: Viewer) -> None:
    command = ["/usr/bin/openssl", "s_client", "-connect", f"localhost:{viewer.port}", version, "-brief"]
    command += ["-cipher", "DEFAULT:@SECLEVEL=0"]  # this side would take the old one
    spoken = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)

    assert (spoken.returncode == 0) == works, spoken.stderr.decode()


def test_the_log_names_the_study_and_who_looked_but_no_patient(viewer: Viewer) -> None:
    viewer.ask(f"/dicom-web/studies/{STUDY.study_uid}/metadata?PatientName=SECRET%5ENAME")

    def lines() -> list[str]:
        return [line for line in viewer.log.splitlines() if f"{STUDY.study_uid}/metadata" in line]

    eventually(lines, within=10, what="the request being logged")
    [line] = lines()
    assert f'user="{USER}"' in line
    assert "SECRET" not in viewer.log


def test_a_second_run_changes_nothing(viewer: Viewer) -> None:
    assert re.search(r"changed=0\b", viewer.configure("--diff"))
    assert re.search(r"changed=0\b", viewer.configure("--diff", "--check"))


def test_a_new_user_may_log_in_at_once_and_no_secret_is_shown(viewer: Viewer) -> None:
    shown = viewer.configure("--diff", "-vv", viewer_users={USER: USERS_PASSWORD, "second": "another-password"})

    for secret in (USERS_PASSWORD, ORTHANC_PASSWORD, "another-password", "PRIVATE KEY", "$6$"):
        assert secret not in shown
    second = requests.get(viewer.url, auth=("second", "another-password"), verify=str(viewer.authority), timeout=10)
    assert second.status_code == 200


def test_a_check_run_of_a_new_site_writes_nothing(archive: OrthancServer, tmp_path: Path) -> None:
    viewer = Viewer(tmp_path, archive, tmp_path)

    shown = viewer.configure("--check", "--diff")

    assert int(re.findall(r"changed=(\d+)", shown)[0]) > 0
    assert not viewer.home.exists()
    assert not (viewer.inventory / "secrets").exists()


def instance_path(number: int) -> str:
    dataset = STUDY.datasets[number]
    series = f"/dicom-web/studies/{STUDY.study_uid}/series/{dataset.SeriesInstanceUID}"
    return f"{series}/instances/{dataset.SOPInstanceUID}"
