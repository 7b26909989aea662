"""Completion as shells ask for it: names that only this site knows, and silence where it cannot know."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.services import SupervisedHost

from pacsops.orthanc import Modality, ensure


def completed(cli: CommandLine, line: str) -> list[str]:
    """What bash is offered for the last word of a command line."""
    words = line.split(" ")
    asked = cli.piped(_ORTHANC_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert asked.stderr == ""
    return [offer.partition(",")[2] for offer in asked.stdout.split()]


def test_destinations_are_those_orthanc_has(site: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    for name in ("MERCURE", "MODLINK", "OTHER"):
        ensure(orthanc.client, Modality(name=name, aet=name, host="127.0.0.1", port=104))

    assert completed(cli, "orthanc test-destination M") == ["MERCURE", "MODLINK"]
    assert completed(cli, "orthanc send ACC-1 mod") == ["MODLINK"]
    assert completed(cli, "orthanc show-stuck --destination O") == ["OTHER"]


def test_services_are_those_of_this_host(site: Site, cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    host = SupervisedHost(tmp_path / "host")
    shutil.copy(host.file, site.settings.services_file)

    assert completed(cli, "orthanc restart ") == ["postgres", "router"]
    assert completed(cli, "orthanc stop postgres ") == ["router"], "named once is enough"
    assert completed(cli, "orthanc logs --service r") == ["router"]


def test_commands_and_options_need_no_site(tmp_path: Path) -> None:
    nowhere = CommandLine(tmp_path / "absent.env")

    assert completed(nowhere, "orthanc show-") == ["show-stuck", "show-pending"]
    assert "--no-follow" in completed(nowhere, "orthanc logs --no-f")
    assert completed(nowhere, "orthanc test-destination ") == []


def test_nothing_is_offered_or_complained_of_while_orthanc_is_away(cli: CommandLine) -> None:
    cli.env_file.write_text(f"ORTHANC_URL=http://127.0.0.1:{free_port()}\n")

    assert completed(cli, "orthanc test-destination ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed_and_sound(cli: CommandLine, shell: str) -> None:
    script = cli.piped("completion", shell)

    assert script.returncode == 0
    assert f"_ORTHANC_COMPLETE={shell}_complete" in script.stdout
    if shutil.which(shell):
        read = subprocess.run([shell, "-n"], input=script.stdout, text=True, capture_output=True, check=False)
        assert (read.returncode, read.stderr) == (0, "")
