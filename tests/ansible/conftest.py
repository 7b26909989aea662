"""Running the checkout's Ansible modules in this process, and the settings file they read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

from pacsops.settings import Settings

CHECKOUT = Path(__file__).parents[2]
# As ansible.cfg's module_utils does.
ansible.module_utils.__path__.append(str(CHECKOUT / "module_utils"))

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module of library/ with its arguments; what it returned. `check` and `diff` as on the command line."""

    def run(name: str, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        spec = importlib.util.spec_from_file_location(name, CHECKOUT / "library" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        told = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(told), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        return result

    return run


@pytest.fixture
def env_file(settings: Settings, tmp_path: Path) -> str:
    """The .env of the test's site."""
    path = tmp_path / ".env"
    path.write_text(
        f"ORTHANC_URL={settings.orthanc_url}\n"
        f"ORTHANC_USERNAME={settings.orthanc_username}\n"
        f"ORTHANC_PASSWORD={settings.orthanc_password}\n"
        f"POSTGRES_HOST={settings.postgres_host}\n"
        f"POSTGRES_PORT={settings.postgres_port}\n"
        f"POSTGRES_DB={settings.postgres_db}\n"
        f"POSTGRES_USER={settings.postgres_user}\n"
    )
    return str(path)
