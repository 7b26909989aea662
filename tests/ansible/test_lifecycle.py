"""A deployed site is upgraded, goes back by itself and when it is told to, and is taken away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.support.demo_site import DemoSite, undeployed

pytestmark = pytest.mark.timeout(900)  # an upgrade deploys, tries, and may deploy back


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    site = undeployed(tmp_path_factory.mktemp("lifecycle") / "site")
    try:
        site.deploy()
        yield site
    finally:
        site.shut_down()


def configuration(site: DemoSite) -> dict[str, str]:
    """Every file that decides what runs, by its content."""
    paths = [site.home / ".env", *(site.home / "config").rglob("*")]
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def modalities(site: DemoSite, **of_modlink: Any) -> list[dict[str, Any]]:
    """The demo's neighbours as an inventory lists them; what is said of MODLINK is said of it besides."""
    first = site.ports["demo_first_neighbour_port"]
    names = ["CR_ROOM1", "MERCURE", "LPCHROUTER", "LPCHTROUTER", "MODLINK"]
    listed: list[dict[str, Any]] = [
        {"name": name, "aet": name, "host": "127.0.0.1", "port": first + number} for number, name in enumerate(names)
    ]
    for entry in listed[:2]:
        entry["allow_store"] = True
    listed[-1].update(of_modlink)
    return listed


def aet_of_modlink(site: DemoSite) -> str:
    listed = json.loads(site.orthanc("destinations", "--json").stdout)["destinations"]
    return str(next(each["aet"] for each in listed if each["name"] == "MODLINK"))


def evidence(site: DemoSite) -> list[Path]:
    return sorted((site.home / "releases").glob("evidence-*"))


def test_an_upgrade_backs_up_deploys_and_sends_a_study_through_every_route(site: DemoSite) -> None:
    upgraded = site.play(
        "playbooks/upgrade.yml", orthanc_stable_age=3, orthanc_modalities=modalities(site, canary=True)
    )

    assert upgraded.returncode == 0, upgraded.stdout[-6000:]
    assert re.search(r"demo runs \d", upgraded.stdout)
    happened = json.loads((evidence(site)[-1] / "upgrade.json").read_text())
    flown = {each["route"]: each["outcome"] for each in happened["canary"]["routes"]}
    assert flown == {"bone_length_to_ai": "decided", "ai_qa_to_pacs": "decided", "ai_sr_to_modlink": "delivered"}
    assert json.loads(site.orthanc("backup", "list", "--json").stdout)["backups"], "it was backed up before"
    assert not (site.home / "releases" / "under-way").exists()


def test_a_rollback_brings_back_what_ran_before_and_keeps_what_arrived(site: DemoSite) -> None:
    delivered = json.loads(site.orthanc("status", "--json").stdout)["routing"]["completed"]

    back = site.play("playbooks/rollback.yml")

    assert back.returncode == 0, back.stdout[-6000:]
    assert '"StableAge": 2' in (site.home / "config" / "orthanc" / "orthanc.json").read_text()
    assert set(site.processes()) >= {"postgres", "orthanc", "router", "modlink"}
    assert json.loads(site.orthanc("status", "--json").stdout)["routing"]["completed"] == delivered > 0
    assert site.orthanc("doctor", "--json").returncode in {0, 1}


def test_an_upgrade_whose_canary_does_not_arrive_returns_by_itself(site: DemoSite) -> None:
    """MODLINK rejects who calls it by another name: C-ECHO and C-STORE alike."""
    before, kept = configuration(site), len(evidence(site))

    refused = site.play(
        "playbooks/upgrade.yml",
        orthanc_stable_age=3,
        upgrade_without_backup=True,
        release_canary_within=60,
        orthanc_modalities=modalities(site, canary=True, aet="MOD_LINK"),
    )

    assert refused.returncode != 0
    assert "was not upgraded and runs what it ran before" in refused.stdout, refused.stdout[-6000:]
    assert "route ai_sr_to_modlink: MODLINK" in refused.stdout
    assert configuration(site) == before
    assert aet_of_modlink(site) == "MODLINK"
    assert set(site.processes()) >= {"postgres", "orthanc", "router", "modlink"}
    assert site.orthanc("doctor", "--json").returncode in {0, 1}
    assert len(evidence(site)) == kept + 1
    assert "route ai_sr_to_modlink" in json.loads((evidence(site)[-1] / "upgrade.json").read_text())["failed"]
    assert (evidence(site)[-1] / "logs.txt").stat().st_size > 0
    assert not (site.home / "releases" / "under-way").exists()


def test_a_site_that_is_not_well_or_has_no_repository_is_not_upgraded(site: DemoSite) -> None:
    before = configuration(site)
    site.control("stop", "modlink")

    ill = site.play("playbooks/upgrade.yml")
    site.control("start", "modlink")
    bare = site.play("playbooks/upgrade.yml", backup_repository="")

    assert ill.returncode != 0
    assert "is not well: MODLINK" in ill.stdout, ill.stdout[-4000:]
    assert bare.returncode != 0
    assert "has no repository to back up to" in bare.stdout
    assert configuration(site) == before


def test_uninstalling_keeps_data_and_destroys_it_only_when_that_is_said_twice(site: DemoSite) -> None:
    images = sorted(path for path in (site.home / "data" / "dicom").rglob("*") if path.is_file())
    pid = site.control("pid").strip()

    gone = site.play("playbooks/uninstall.yml")

    assert gone.returncode == 0, gone.stdout[-4000:]
    assert not Path(f"/proc/{pid}").exists()
    assert not (site.home / "bin").exists()
    assert str(site.home / "data" / "dicom") in gone.stdout
    assert sorted(path for path in (site.home / "data" / "dicom").rglob("*") if path.is_file()) == images
    assert (site.home / "data" / "postgres" / "PG_VERSION").exists()

    hasty = site.play("playbooks/uninstall.yml", uninstall_data=True)
    assert hasty.returncode != 0
    assert "add -e uninstall_site=demo" in hasty.stdout
    assert (site.home / "data" / "postgres" / "PG_VERSION").exists()

    meant = site.play("playbooks/uninstall.yml", uninstall_data=True, uninstall_site="demo")
    assert meant.returncode == 0, meant.stdout[-4000:]
    assert not (site.home / "data").exists()
    assert any((site.home / "backups" / "repository").iterdir()), "backups are never touched"
