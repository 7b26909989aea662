"""install.sh: what it asks for, what it writes, and that nothing is half."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from select import select
from typing import Any

import pytest
import yaml
from tests.ansible.conftest import CHECKOUT
from tests.ansible.test_inventories import preflight

from pacsops.routes.loader import read_routes

CLINIC = [
    *("--non-interactive", "--site", "clinic", "--aet", "CLINIC"),
    *("--source", "US1,US1,203.0.113.21,104", "--destination", "HOSPITAL,ORTHANC,192.0.2.12,4242"),
]


def install(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHECKOUT / "install.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def on_a_terminal(inventories: Path, *typed: bytes) -> tuple[str, int]:
    """What was shown, and the exit status. Each piece is typed when all before it was answered."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        # As the terminal's own, so that ^C reaches it.
        [
            "setsid",
            "--ctty",
            "--wait",
            str(CHECKOUT / "install.sh"),
            "--no-deploy",
            "--inventories",
            str(inventories),
        ],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        for piece in typed:
            os.write(controller, piece)
            while shown.count(b": ") < piece.count(b"\n") and piece != typed[-1]:
                shown += os.read(controller, 4096)
        while True:
            if not select([controller], [], [], 5)[0]:
                # Bash may see ^C just before it begins to read, and then waits on: people press it again.
                os.write(controller, b"\x03" if typed[-1] == b"\x03" else b"")
                continue
            try:
                shown += os.read(controller, 4096)
            except OSError:  # the terminal is gone with the process
                break
        return shown.decode(), process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def answering(inventories: Path, *answers: str) -> str:
    """With these lines typed; what was shown."""
    shown, status = on_a_terminal(inventories, "".join(f"{answer}\n" for answer in answers).encode())
    assert status == 0, shown
    return shown


def variables(inventory: Path) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for path in sorted((inventory / "group_vars" / "all").glob("*.yml")):
        read |= yaml.safe_load(path.read_text())
    return read


@pytest.mark.parametrize(
    "besides",
    [
        [],
        ["--runtime", "systemd", "--viewer-host", "none"],
        ["--host", "203.0.113.10", "--user", "deploy", "--backup", "sftp:pacsops@192.0.2.20:/srv/pacsops"],
        ["--host", "192.0.2.12", "--database-host", "192.0.2.11", "--viewer-host", "192.0.2.13", "--user", "deploy"],
    ],
    ids=["here", "units without a viewer", "one machine elsewhere", "three machines"],
)
def test_what_it_writes_passes_preflight_and_routes_to_what_was_named(tmp_path: Path, besides: list[str]) -> None:
    written = install(*CLINIC, *besides, "--no-deploy", "--inventories", str(tmp_path))

    assert written.returncode == 0, written.stderr
    inventory = tmp_path / "clinic"
    looked = preflight(inventory, runtime="systemd")  # Docker's collection is not what is looked at
    assert looked.returncode == 0, looked.stdout
    said = variables(inventory)
    assert [each["name"] for each in said["orthanc_modalities"]] == ["US1", "HOSPITAL"]
    assert read_routes(inventory / "files" / "routes.yml", destinations={"HOSPITAL"}).destinations == {"HOSPITAL"}
    assert yaml.safe_load((inventory / "hosts.yml").read_text())
    assert f"Next: ./install.sh --site clinic --inventories {tmp_path}" in written.stdout


def test_a_dry_run_shows_the_inventory_and_writes_nothing(tmp_path: Path) -> None:
    shown = install(
        *CLINIC, "--dry-run", "--inventories", str(tmp_path / "sites"), ORTHANC_PASSWORD="not-to-be-shown"
    )

    assert shown.returncode == 0, shown.stderr
    assert 'orthanc_aet: "CLINIC"' in shown.stdout
    assert "not-to-be-shown" not in shown.stdout + shown.stderr
    assert not (tmp_path / "sites").exists()


def test_answers_are_asked_for_until_they_are_fit(tmp_path: Path) -> None:
    shown = answering(
        tmp_path,
        *("My Clinic", "clinic", "Clinic of Mine", "", "none", "podman", "systemd", "", "", ""),
        *("AN_AE_TITLE_THAT_IS_TOO_LONG", "CLINIC", "", "PACS", "PACS,PACS_MAIN,192.0.2.40,104", "", ""),
    )

    said = variables(tmp_path / "clinic")
    assert "begins with a letter" in shown
    assert "compose or systemd" in shown
    assert "1 to 16" in shown
    assert "NAME,AET,HOST,PORT" in shown
    assert (said["orthanc_aet"], said["orthanc_name"], said["runtime"]) == ("CLINIC", "Clinic of Mine", "systemd")
    assert [each["aet"] for each in said["orthanc_modalities"]] == ["PACS_MAIN"]
    assert "viewer" not in yaml.safe_load((tmp_path / "clinic" / "hosts.yml").read_text())["all"]["children"]


def test_ctrl_c_at_a_question_leaves_nothing(tmp_path: Path) -> None:
    shown, status = on_a_terminal(tmp_path / "sites", b"clinic\nClinic of Mine\n", b"\x03")

    assert status == 130, shown
    assert "nothing is half" in shown
    assert not (tmp_path / "sites").exists()


def test_passwords_of_the_environment_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    written = install(*(*CLINIC, "--no-deploy", "--inventories", str(tmp_path)), ORTHANC_PASSWORD="of-the-hospital-1")

    secret = tmp_path / "clinic" / "secrets" / "orthanc"
    assert written.returncode == 0
    assert secret.read_text() == "of-the-hospital-1\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    assert "of-the-hospital-1" not in written.stdout + written.stderr


def test_an_inventory_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    install(*CLINIC, "--no-deploy", "--inventories", str(tmp_path))
    edited = tmp_path / "clinic" / "group_vars" / "all" / "vars.yml"
    edited.write_text(edited.read_text() + "# mine\n")

    again = install("--non-interactive", "--site", "clinic", "--no-deploy", "--inventories", str(tmp_path))

    assert again.returncode == 0, again.stderr
    assert "is used as it is" in again.stderr
    assert edited.read_text().endswith("# mine\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--non-interactive"], "--site is not said"),
        (["--site", "clinic"], "there is nobody to ask"),
        ([*CLINIC[:3], "--aet", "AN_AE_TITLE_THAT_IS_TOO_LONG"], "1 to 16"),
        ([*CLINIC, "--destination", "PACS,PACS,192.0.2.1,99999"], "1 to 65535"),
        ([*CLINIC, "--database-host", "192.0.2.11"], "local for itself alone"),
        ([*CLINIC, "--user", "x; rm -rf /", "--host", "192.0.2.1"], "no name of an account"),
        ([*CLINIC, "--sight", "clinic"], "no option --sight"),
    ],
)
def test_what_is_not_fit_is_named_and_nothing_is_written(tmp_path: Path, arguments: list[str], told: str) -> None:
    refused = install(*arguments, "--inventories", str(tmp_path / "sites"))

    assert refused.returncode == 2
    assert told in refused.stderr
    assert "hint: " in refused.stderr
    assert not (tmp_path / "sites").exists()
