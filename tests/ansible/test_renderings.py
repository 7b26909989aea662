"""What compose.yml, systemd's units and supervisor's configuration say of the catalogue's services; and the .env.

The files in golden/ are what was reviewed: `make golden` writes them anew, and the change is read in the diff.
golden/ has a host without a gateway, golden/edge/ one that is nothing else.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.ansible.conftest import CHECKOUT

from pacsops.settings import Settings

GOLDEN = CHECKOUT / "tests" / "ansible" / "golden"
HASHES = re.compile(r"\b[0-9a-f]{64}\b|(?<=-)[0-9a-f]{12}\b")
"""Fingerprints of contents: others with every change of the code."""


def render(inventory: Path, folder: Path) -> dict[str, str]:
    """File name -> content, by the deployment's own templates."""
    play = ["-i", str(inventory), "tests/ansible/render.yml", "-e", f"rendered={folder}"]
    done = subprocess.run(
        [str(CHECKOUT / ".venv" / "bin" / "ansible-playbook"), *play],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {path.name: HASHES.sub("HASH", path.read_text()) for path in sorted(folder.iterdir())}


def is_as_reviewed(rendered: dict[str, str], reviewed: Path, pytestconfig: pytest.Config) -> bool:
    """Whether the folder has it; with --write-golden it has from now on."""

    def there() -> list[Path]:
        return [path for path in reviewed.iterdir() if path.is_file() and path.name != "inventory.yml"]

    if pytestconfig.getoption("--write-golden"):
        for path in there():
            path.unlink()
        for name, content in rendered.items():
            (reviewed / name).write_text(content)
    assert rendered == {path.name: path.read_text() for path in there()}
    return True


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a host with every service but the gateway."""
    return render(GOLDEN / "inventory.yml", tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a host with the gateway."""
    return render(GOLDEN / "edge" / "inventory.yml", tmp_path_factory.mktemp("edge"))


def test_every_rendering_is_as_reviewed(rendered: dict[str, str], pytestconfig: pytest.Config) -> None:
    assert is_as_reviewed(rendered, GOLDEN, pytestconfig)


def test_every_rendering_of_a_gateway_is_as_reviewed(edge: dict[str, str], pytestconfig: pytest.Config) -> None:
    assert is_as_reviewed(edge, GOLDEN / "edge", pytestconfig)


def test_a_gateway_is_between_the_networks_and_writes_its_spool_alone(edge: dict[str, str]) -> None:
    gateway = yaml.safe_load(edge["compose.yml"])["services"]["gateway"]

    assert gateway["networks"] == ["pacs_net", "workers_net"]
    assert [mount["target"] for mount in gateway["volumes"] if not mount.get("read_only")] == [
        "/opt/orthanc/data/incoming"
    ]
    assert "depends_on" not in gateway, "it receives whatever else is down"
    assert "ReadWritePaths=/opt/orthanc/data/incoming\n" in edge["pacsops-gateway.service"]


def test_no_secret_is_in_what_everybody_may_read(rendered: dict[str, str], edge: dict[str, str]) -> None:
    """compose.yml and units are 0644; supervisor's files and .env, which hold secrets, are their owner's alone."""
    for name, content in (*rendered.items(), *edge.items()):
        assert name.endswith((".conf", ".env")) or "secret.of" not in content, name


def test_the_settings_are_read_as_the_inventory_means_them(rendered: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(rendered["site.env"])
    settings = Settings.load(tmp_path / ".env", environ={})

    assert (settings.orthanc_password, settings.postgres_password) == ("secret.of.orthanc", "secret.of.pacsops")
    graphite = (settings.graphite_host, settings.graphite_port, settings.graphite_prefix)
    assert graphite == ("graphite.example.org", 2003, "orthanc")


def test_every_container_is_confined(rendered: dict[str, str], edge: dict[str, str]) -> None:
    hosts = [yaml.safe_load(each["compose.yml"])["services"] for each in (rendered, edge)]
    for name, service in [named for services in hosts for named in services.items()]:
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["user"].split(":")[0] not in {"", "0", "root"}, name
        assert service["mem_limit"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["logging"]["options"]["max-size"], name


def test_the_database_is_published_on_the_loopback_address_only(rendered: dict[str, str]) -> None:
    services = yaml.safe_load(rendered["compose.yml"])["services"]

    assert services["postgres"]["ports"] == ["127.0.0.1:5432:5432"]


def test_scanners_reach_an_orthanc_whose_rest_api_is_for_its_host(rendered: dict[str, str]) -> None:
    services = yaml.safe_load(rendered["compose.yml"])["services"]

    assert services["orthanc"]["ports"] == ["127.0.0.1:8042:8042", "0.0.0.0:4242:4242"]
