"""What a site's Compose file counts on in our images, with a read-only root, no capabilities and any user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
from tests.acceptance.conftest import play_images
from tests.acceptance.containers import Container, docker
from tests.support.network import eventually

from pacsops.dicom.synthetic import Study, part10

pytestmark = pytest.mark.timeout(900)  # the first test builds the images

SOCKET = ("--tmpfs=/var/run/postgresql:mode=1777",)
PASSWORD = "a-password-for-tests"
QUICK = ("postgres", "-c", "fsync=off")


def owned(folder: Path, user: int) -> Path:
    folder.mkdir(exist_ok=True)
    os.chown(folder, user, user)
    return folder


def postgres(image: str, data: Path, *, user: int = 58432, **environment: str) -> Container:
    """PostgreSQL whose PGDATA is a mount, as a site has it."""
    return Container(
        image,
        *QUICK,
        user=user,
        mounts={owned(data, user): "/data"},
        environment={"PGDATA": "/data", "POSTGRES_PASSWORD": PASSWORD} | environment,
        options=SOCKET,
    )


def test_images_that_are_there_are_not_built_again(images: dict[str, str], tmp_path: Path) -> None:
    played = play_images(tmp_path, "--check")
    assert played.returncode == 0, played.stdout
    assert "images_build" not in played.stdout


def test_a_missing_image_is_announced_by_a_check_run(images: dict[str, str], tmp_path: Path) -> None:
    held = "pacsops-test/held:1"
    docker("tag", images["viewer"], held)
    docker("rmi", images["viewer"])
    try:
        played = play_images(tmp_path, "--check")
    finally:
        docker("tag", held, images["viewer"])
        docker("rmi", held)
    assert played.returncode == 0, played.stdout
    assert "changed: [localhost] => (item=viewer)" in played.stdout
    assert not (tmp_path / "images").exists()


def test_images_run_as_nobody_special(images: dict[str, str]) -> None:
    users = {name: docker("inspect", "--format={{.Config.User}}", tag).strip() for name, tag in images.items()}
    assert users == {
        "toolkit": "58043:58043",
        "orthanc": "58042:58042",
        "postgres": "58432:58432",
        "viewer": "58080:58080",
    }


def test_the_toolkit_answers_as_any_user(images: dict[str, str]) -> None:
    assert "router" in Container(images["toolkit"], "pacsops", "--help", user=1234).run()
    assert "(pacsops)" in Container(images["toolkit"], "orthanc", "--version", user=1234).run()


@pytest.mark.parametrize("user", [58432, 1234])
def test_postgres_makes_its_cluster_and_asks_for_the_password(
    images: dict[str, str], tmp_path: Path, user: int
) -> None:
    with postgres(images["postgres"], tmp_path / "data", user=user) as server:
        server.answers("pg_isready", "-q", "-h", "127.0.0.1")
        told = server.execute(
            "psql", "-U", "postgres", "-Atc", "show data_checksums", "-c", "show server_encoding"
        ).split()
        assert told == ["on", "UTF8"]
        with Container(images["postgres"], "sleep", "infinity", user=user) as client:
            url = f"postgresql://postgres:{{}}@{server.address}/postgres"
            assert client.execute("psql", url.format(PASSWORD), "-Atc", "select 41 + 1").strip() == "42"
            refused = client.execute("psql", url.format("another"), "-Atc", "select 1", check=False)
            assert "password authentication failed" in refused


def test_postgres_without_a_password_starts_only_when_told_to_trust(images: dict[str, str], tmp_path: Path) -> None:
    with postgres(images["postgres"], tmp_path / "data", POSTGRES_PASSWORD="") as server:
        eventually(lambda: server.exit_status is not None, what="the refusal")
        assert server.exit_status == 1
        assert "hint: set POSTGRES_PASSWORD" in server.log
    trusting = postgres(
        images["postgres"], tmp_path / "data", POSTGRES_PASSWORD="", POSTGRES_HOST_AUTH_METHOD="trust"
    )
    with trusting as server:
        server.answers("pg_isready", "-q", "-h", "127.0.0.1")


def test_postgres_killed_while_it_makes_its_cluster_comes_back_whole(images: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    with postgres(images["postgres"], data) as server:
        eventually((data / ".unfinished" / "PG_VERSION").exists, what="half a cluster")
        server.kill()
    assert not (data / "PG_VERSION").exists()

    with postgres(images["postgres"], data) as server:
        server.answers("psql", "-U", "postgres", "-h", "127.0.0.1", "-Atc", "select 1")
    assert not (data / ".unfinished").exists()


def test_postgres_killed_while_its_cluster_moves_into_place_goes_on(images: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    with postgres(images["postgres"], data) as server:
        server.answers("psql", "-U", "postgres", "-h", "127.0.0.1", "-Atc", "create table kept ()")
        docker("stop", server.name)
    finished = owned(data / ".finished", 58432)
    for not_yet_moved in ("PG_VERSION", "base", "pg_wal"):
        shutil.move(data / not_yet_moved, finished)

    with postgres(images["postgres"], data) as server:
        server.answers("psql", "-U", "postgres", "-h", "127.0.0.1", "-Atc", "select count(*) from kept")
    assert not finished.exists()


def test_postgres_makes_no_cluster_over_files_it_does_not_know(images: dict[str, str], tmp_path: Path) -> None:
    data = owned(tmp_path / "data", 58432)
    (data / "base").mkdir()
    with postgres(images["postgres"], data) as server:
        eventually(lambda: server.exit_status is not None, what="the refusal")
        assert "neither empty nor a cluster" in server.log
    assert [path.name for path in data.iterdir()] == ["base"]


def test_orthanc_keeps_its_index_in_postgres_and_takes_images(images: dict[str, str], tmp_path: Path) -> None:
    storage = owned(tmp_path / "storage", 1234)
    configuration = tmp_path / "orthanc"
    configuration.mkdir()
    study = Study()
    study.add_series("CT", instances=3)
    sent = tmp_path / "sent"
    sent.mkdir()
    for number, dataset in enumerate(study.datasets):
        (sent / f"{number}.dcm").write_bytes(part10(dataset))

    with postgres(images["postgres"], tmp_path / "data") as database:
        database.answers("psql", "-U", "postgres", "-h", "127.0.0.1", "-Atc", "create database orthanc")
        options = {
            "StorageDirectory": "/storage",
            "RemoteAccessAllowed": True,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomAet": "ORTHANC",
            "DatabaseServerIdentifier": "test",
            "Plugins": ["/usr/share/orthanc/plugins"],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "PostgreSQL": {
                "EnableIndex": True,
                "EnableStorage": False,
                "Host": database.address,
                "Database": "orthanc",
                "Username": "postgres",
                "Password": PASSWORD,
            },
        }
        (configuration / "orthanc.json").write_text(json.dumps(options))
        mounts = {storage: "/storage", configuration: "/etc/orthanc:ro"}
        with Container(images["orthanc"], user=1234, mounts=mounts) as orthanc:
            read = "import urllib.request as u; u.urlopen('http://127.0.0.1:8042/changes?last')"
            orthanc.answers("python3", "-c", read)
            url = f"http://{orthanc.address}:8042"
            loaded = set(requests.get(f"{url}/plugins", timeout=10).json())
            assert loaded == {"explorer.js", "postgresql-index", "python", "dicom-web"}

            subprocess.run(
                ["/usr/bin/storescu", "-aec", "ORTHANC", "+sd", orthanc.address, "4242", str(sent)],
                check=True,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
            found = requests.get(f"{url}/dicom-web/studies", timeout=10).json()
            assert [entry["0020000D"]["Value"] for entry in found] == [[study.study_uid]]
            indexed = database.execute(
                "psql",
                "-U",
                "postgres",
                "-d",
                "orthanc",
                "-Atc",
                "select count(*) from Resources where resourceType=3",
            )
            assert indexed.strip() == "3"


def test_the_viewer_serves_its_pages(images: dict[str, str], tmp_path: Path) -> None:
    configuration = tmp_path / "nginx.conf"
    folders = " ".join(f"{kind}_temp_path /tmp/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text(
        "pid /tmp/nginx.pid; events {} http { access_log off; include /etc/nginx/mime.types;"
        f" client_body_temp_path /tmp/body; {folders} server {{ listen 8080; root /usr/share/ohif; }} }}"
    )
    with Container(images["viewer"], mounts={configuration: "/etc/nginx/nginx.conf:ro"}) as viewer:
        viewer.answers("curl", "--fail", "--silent", "http://127.0.0.1:8080/")
        url = f"http://{viewer.address}:8080"
        page = requests.get(url, timeout=10).text
        assert "OHIF" in page
        # No site's addresses but its own: a viewer without a configuration asks nobody.
        assert "http" not in requests.get(f"{url}/app-config.js", timeout=10).text
