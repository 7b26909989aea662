"""The module finds what the command finds, and fails over nothing it finds."""

from __future__ import annotations

from pathlib import Path

from tests.ansible.conftest import RunModule
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer

from pacsops.doctor import CHECKS


def test_it_returns_what_every_check_found(orthanc: OrthancServer, env_file: str, run_module: RunModule) -> None:
    result = run_module("site_doctor", {"env_file": env_file}, check=True)

    assert result["changed"] is False
    # Without a gateway, its checks have nothing to say.
    assert {each["id"] for each in result["checks"]} == {
        check.id for check in CHECKS if not check.id.startswith("gateway")
    }
    by_id = {each["id"]: each for each in result["checks"]}
    assert by_id["orthanc"]["severity"] == "ok"
    assert by_id["router"]["severity"] == "error"
    assert result["exit_code"] == 2
    assert result["summary"]["errors"] == sum(each["severity"] == "error" for each in result["checks"])


def test_on_the_other_hosts_only_what_is_about_them_is_looked_at(env_file: str, run_module: RunModule) -> None:
    result = run_module("site_doctor", {"env_file": env_file, "scope": "host"})

    assert {each["scope"] for each in result["checks"]} == {"host"}


def test_with_nothing_running_it_still_answers(tmp_path: Path, run_module: RunModule) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"ORTHANC_URL=http://127.0.0.1:{free_port()}\nPOSTGRES_PORT={free_port()}\n")
    result = run_module("site_doctor", {"env_file": str(env_file), "only": ["orthanc", "stuck"]})

    assert [(each["id"], each["severity"], each["seen"]) for each in result["checks"]] == [
        ("orthanc", "error", True),
        ("stuck", "warning", False),
    ]


def test_a_check_that_does_not_exist_is_refused(env_file: str, run_module: RunModule) -> None:
    result = run_module("site_doctor", {"env_file": env_file, "only": ["destinationecho"]})

    assert result["failed"]
    assert "--list-checks" in result["msg"]
