"""What the role backup tells each host of the example sites, and its timers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.conftest import CHECKOUT

from pacsops.backup.configuration import BackupConfiguration

Rendered = Callable[..., dict[str, str]]


@pytest.fixture
def rendered(tmp_path: Path) -> Rendered:
    """File name -> content, of a site with other values for some variables."""

    def render(site: str, **variables: Any) -> dict[str, str]:
        folder = tmp_path / "rendered"
        folder.mkdir()
        said = {"rendered": str(folder), "ansible_connection": "local", "ansible_become": False, **variables}
        play = ["-i", f"inventories/{site}", "tests/ansible/render_backup.yml", "-e", json.dumps(said)]
        done = subprocess.run(
            [str(CHECKOUT / ".venv" / "bin" / "ansible-playbook"), *play],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return {path.name: path.read_text() for path in sorted(folder.iterdir())}

    return render


def test_hosts_of_one_site_share_its_backup(rendered: Rendered) -> None:
    files = rendered("example_hospital")

    database, images = json.loads(files["db1.json"]), json.loads(files["orthanc1.json"])
    assert database["repository"] == images["repository"]
    assert (database["parts"], images["parts"]) == (["database"], ["files", "routes"])
    assert sorted(database["site_parts"]) == sorted(images["site_parts"]) == ["database", "files", "routes"]
    assert images["database"] is None
    assert (database["storage"], database["routes"]) == (None, None)
    assert images["stop"] == "systemctl stop pacsops-router pacsops-orthanc"
    assert images["start"] == "systemctl start pacsops-orthanc pacsops-router"
    for said in (database, images):
        BackupConfiguration._of(said)
    tied = "id=$$(date -u +%%Y%%m%%d)-scheduled; "
    there = f"{tied}exec /opt/orthanc/bin/orthanc backup --quiet --id $$id"
    assert f"ExecStart=/bin/sh -c '{there}'" in files["db1-pacsops-backup.service"]
    assert f"{tied}sleep 600; exec" in files["orthanc1-pacsops-backup.service"], "files after the index"


def test_hosts_with_a_folder_each_have_a_backup_each(rendered: Rendered) -> None:
    files = rendered("example_hospital", backup_repository="/mnt/backup/pacsops")

    assert json.loads(files["db1.json"])["site_parts"] == ["database"]
    assert "ExecStart=/opt/orthanc/bin/orthanc backup --quiet\n" in files["db1-pacsops-backup.service"]


def test_containers_are_backed_up_from_their_host(rendered: Rendered) -> None:
    said = json.loads(rendered("example_clinic", backup_repository="/mnt/backup/pacsops")["clinic1.json"])

    database = said["database"]
    assert (database["compose_folder"], database["bin"]) == ("/opt/orthanc", None)
    assert database["host"] == "/opt/orthanc/run/postgres", "the superuser's socket, which the host sees"
    assert database["image"].startswith("pacsops/postgres:")
    assert database["account"] == "58432"
    assert said["stop"] == "docker compose --project-directory /opt/orthanc stop gateway router orthanc"
    assert BackupConfiguration._of(said).database is not None


def test_a_site_without_a_repository_or_a_schedule_has_no_timers(rendered: Rendered) -> None:
    files = rendered("example_clinic", backup_repository="", backup_schedule="*-*-* 03:00:00")

    assert [name for name in files if not name.endswith(".json")] == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_the_units(rendered: Rendered, tmp_path: Path) -> None:
    files = rendered("example_hospital")
    units = tmp_path / "units"
    units.mkdir()
    for name in ("pacsops-backup", "pacsops-backup-verify"):
        for kind in ("service", "timer"):
            content = files[f"orthanc1-{name}.{kind}"].replace("/opt/orthanc/bin/orthanc", "/bin/true")
            (units / f"{name}.{kind}").write_text(content)
        spans = re.findall(r"OnCalendar=(.+)", files[f"orthanc1-{name}.timer"])
        assert (
            subprocess.run(["systemd-analyze", "calendar", *spans], capture_output=True, check=False).returncode == 0
        )

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(units.glob("*.timer")))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert not [line for line in verified.stderr.splitlines() if "pacsops-backup" in line], verified.stderr
