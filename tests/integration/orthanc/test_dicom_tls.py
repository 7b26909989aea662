"""DICOM over TLS, Orthanc as either side, with DCMTK as the peer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.certificates import Certified, certified
from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import OrthancServer

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse.verification import echo, tls_context
from pacsops.orthanc import Modality, ensure
from pacsops.orthanc import echo as echo_from_orthanc


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def peer(authority: Path) -> Certified:
    return certified(authority, "peer")


@pytest.fixture(scope="module")
def secured(authority: Path) -> Iterator[OrthancServer]:
    """Orthanc that speaks TLS on its DICOM port, as templates/orthanc.json.j2 says it."""
    own = certified(authority, "orthanc")
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(own.certificate),
        "DicomTlsPrivateKey": str(own.key),
        "DicomTlsTrustedCertificates": str(own.authority),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with OrthancServer(options=options) as server:
        yield server


@pytest.fixture
def image(tmp_path: Path) -> Path:
    study = Study()
    study.add_series("CR")
    path = tmp_path / "image.dcm"
    path.write_bytes(part10(study.datasets[0]))
    return path


def send(orthanc: OrthancServer, image: Path, *how: str) -> bool:
    """Whether DCMTK's storescu got it across."""
    command = ["/usr/bin/storescu", "-to", "5", "-aec", orthanc.aet, *how, "127.0.0.1", str(orthanc.dicom_port)]
    done = subprocess.run([*command, str(image)], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0


@contextmanager
def storescp(folder: Path, *how: str) -> Iterator[int]:
    """DCMTK's receiver; its port."""
    port = free_port()
    command = ["/usr/bin/storescp", "-aet", "MODLINK", "-od", str(folder), *how, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: accepts(port), what="storescp listening")
            yield port
        finally:
            process.terminate()


def test_a_peer_the_authority_vouches_for_sends_to_orthanc(
    secured: OrthancServer, peer: Certified, image: Path
) -> None:
    assert send(secured, image, *peer.dcmtk())

    assert secured.client.get("/statistics")["CountInstances"] == 1


def test_nobody_else_sends_to_orthanc(secured: OrthancServer, peer: Certified, image: Path, tmp_path: Path) -> None:
    stranger = certified(tmp_path / "other", "stranger")

    assert not send(secured, image), "in the clear"
    assert not send(secured, image, "+tla", "+cf", str(peer.authority)), "without a certificate"
    assert not send(secured, image, "+tls", str(stranger.key), str(stranger.certificate), "+cf", str(peer.authority))


def test_orthanc_sends_to_a_destination_over_tls(secured: OrthancServer, peer: Certified, tmp_path: Path) -> None:
    study = Study()
    study.add_series("CR", instances=2)
    instances = secured.upload(study.datasets)
    with storescp(tmp_path, *peer.dcmtk()) as port:
        modlink = Modality(name="MODLINK", aet="MODLINK", host="127.0.0.1", port=port, use_dicom_tls=True)
        ensure(secured.client, modlink)

        assert echo_from_orthanc(secured.client, "MODLINK").ok
        secured.client.post("/modalities/MODLINK/store", {"Resources": instances, "Synchronous": True})

    assert len(list(tmp_path.iterdir())) == 2


def test_orthanc_does_not_believe_a_destination_of_another_authority(secured: OrthancServer, tmp_path: Path) -> None:
    stranger = certified(tmp_path / "other", "stranger")
    with storescp(tmp_path, *stranger.dcmtk()) as port:
        modlink = Modality(name="MODLINK", aet="MODLINK", host="127.0.0.1", port=port, use_dicom_tls=True)
        ensure(secured.client, modlink)

        assert not echo_from_orthanc(secured.client, "MODLINK").ok


def test_an_echo_from_a_host_goes_over_tls_too(peer: Certified, tmp_path: Path) -> None:
    stranger = certified(tmp_path / "other", "stranger")
    believing = tls_context(peer.certificate, peer.key, peer.authority)
    with storescp(tmp_path, *peer.dcmtk()) as port:
        assert echo("127.0.0.1", port, "MODLINK", "DOCTOR", 3, tls=believing).ok
        believing_others = tls_context(peer.certificate, peer.key, stranger.authority)
        refused = echo("127.0.0.1", port, "MODLINK", "DOCTOR", 3, tls=believing_others)
    with storescp(tmp_path) as port:
        in_the_clear = echo("127.0.0.1", port, "MODLINK", "DOCTOR", 3, tls=believing)

    assert (refused.outcome, "certificate is not believed" in refused.reason) == ("rejected", True)
    assert not in_the_clear.ok
    assert "TLS" in in_the_clear.reason
