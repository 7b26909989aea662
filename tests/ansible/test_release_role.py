"""What a host remembers of what ran, without a site around it; with one, see test_lifecycle."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.ansible.conftest import CHECKOUT

pytestmark = pytest.mark.timeout(400)  # several playbooks a test

VENV = CHECKOUT / ".venv" / "bin"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A site's folder, as a release left it."""
    home = tmp_path / "site"
    for folder in ("bin", "config", "data"):
        (home / folder).mkdir(parents=True)
    (home / "config" / "routes.yml").write_text("of the old release")
    (home / ".env").write_text("POSTGRES_PASSWORD=secret\n")
    (home / ".env").chmod(0o600)
    (home / "data" / "image").write_text("an image")
    command = home / "bin" / "orthanc"
    command.write_text("#!/bin/sh\necho 'orthanc 0.1.0 (pacsops)'\n")
    command.chmod(0o755)
    return home


def play(
    home: Path,
    *arguments: str,
    playbook: str = "tests/ansible/release.yml",
    deployed: str = "",
    returning: bool = False,
    forgetting: bool = False,
) -> subprocess.CompletedProcess[str]:
    said = {
        "toolkit_home": str(home),
        "toolkit_venv": str(CHECKOUT / ".venv"),
        "toolkit_install": False,
        "runtime": "supervisor",
        "ansible_connection": "local",
        "ansible_python_interpreter": str(VENV / "python"),
        "deployed": deployed,
        "returning": returning,
        "forgetting": forgetting,
    }
    command = [str(VENV / "ansible-playbook"), "-i", "one,", playbook, "-e", json.dumps(said), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)


def test_what_ran_is_put_back_whole_and_data_stays(home: Path) -> None:
    assert play(home, deployed="of the new release").returncode == 0
    (home / "data" / "image").write_text("an image that came since")

    back = play(home, returning=True)

    assert back.returncode == 0, back.stdout
    assert (home / "config" / "routes.yml").read_text() == "of the old release"
    assert not (home / "config" / "another.yml").exists(), "what the new release brought is gone"
    assert (home / ".env").stat().st_mode & 0o777 == 0o600
    assert (home / "data" / "image").read_text() == "an image that came since"
    assert json.loads((home / "releases" / "previous" / "release.json").read_text())["version"] == "0.1.0"
    assert (home / "releases" / "previous").stat().st_mode & 0o777 == 0o700, "it holds passwords"


def test_an_upgrade_that_was_cut_short_does_not_remember_what_is_half_of_each(home: Path) -> None:
    assert play(home, deployed="half of the new release").returncode == 0

    again = play(home, deployed="the new release")

    assert again.returncode == 0, again.stdout
    assert play(home, returning=True).returncode == 0
    assert (home / "config" / "routes.yml").read_text() == "of the old release"


def test_one_that_was_cut_short_on_the_way_to_another_release_is_history(home: Path) -> None:
    assert play(home, deployed="what was deployed since").returncode == 0
    (home / "releases" / "under-way").write_text("the fingerprint of another release")

    assert play(home, deployed="the new release").returncode == 0

    assert play(home, returning=True).returncode == 0
    assert (home / "config" / "routes.yml").read_text() == "what was deployed since"


def test_a_memory_that_cannot_be_read_costs_nothing_that_is_there(home: Path) -> None:
    assert play(home, deployed="of the new release").returncode == 0
    archive = home / "releases" / "previous" / "files.tar"
    archive.write_bytes(archive.read_bytes()[:1500])

    refused = play(home, returning=True)

    assert refused.returncode != 0
    assert (home / "config" / "routes.yml").read_text() == "of the new release"
    assert (home / "bin" / "orthanc").exists()


def test_what_is_forgotten_is_gone_and_a_rollback_says_why(home: Path) -> None:
    assert play(home, deployed="of the new release").returncode == 0
    would = play(home, "--check", forgetting=True)
    assert "one would forget 0.1.0" in words(would)
    assert (home / "releases" / "previous" / "files.tar").exists(), "a check run removes nothing"

    told = play(home, forgetting=True)

    assert told.returncode == 0, told.stdout
    assert "one has forgotten 0.1.0" in words(told)
    assert [path.name for path in (home / "releases").iterdir()] == ["forgotten"], "no upgrade is under way either"
    back = play(home, playbook="playbooks/rollback.yml")
    assert back.returncode != 0
    assert "one has nothing to go back to: 0.1.0" in words(back)
    assert "playbooks/secrets.yml has renewed" in words(back)
    assert (home / "config" / "routes.yml").read_text() == "of the new release"


def test_after_forgetting_the_next_upgrade_remembers_anew(home: Path) -> None:
    assert play(home, deployed="of the new release").returncode == 0
    assert play(home, forgetting=True).returncode == 0

    assert play(home, deployed="of the next release").returncode == 0

    assert not (home / "releases" / "forgotten").exists()
    assert play(home, returning=True).returncode == 0
    assert (home / "config" / "routes.yml").read_text() == "of the new release"


def test_where_nothing_is_remembered_nothing_is_forgotten(home: Path) -> None:
    told = play(home, forgetting=True)

    assert told.returncode == 0, told.stdout
    assert "changed=0" in told.stdout
    assert not (home / "releases").exists()
    back = play(home, playbook="playbooks/rollback.yml")
    assert "one remembers nothing to go back to" in words(back)


def words(played: subprocess.CompletedProcess[str]) -> str:
    """What a playbook said, wherever its lines were broken."""
    return " ".join(played.stdout.split())
