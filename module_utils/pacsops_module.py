"""What every module that calls the pacsops package shares: the package is there, errors read well, one site."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

if TYPE_CHECKING:
    from pacsops.settings import Settings

try:
    import pacsops  # noqa: F401 - only asked whether it is there
except ImportError:
    MISSING: str | None = traceback.format_exc()
else:
    MISSING = None

SITE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "env_file": {"type": "path", "fallback": (env_fallback, ["ORTHANC_ENV"])},
}
ORTHANC_ARGUMENTS: dict[str, dict[str, Any]] = {
    **SITE_ARGUMENTS,
    "url": {"type": "str", "fallback": (env_fallback, ["ORTHANC_URL"])},
    "username": {"type": "str", "fallback": (env_fallback, ["ORTHANC_USERNAME"])},
    "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["ORTHANC_PASSWORD"])},
}


def require_pacsops(module: AnsibleModule) -> None:
    """End with a clear message where this Python lacks the package."""
    if MISSING is not None:
        module.fail_json(
            msg=missing_required_lib("pacsops", reason="which is in the toolkit's virtual environment")
            + " Set ansible_python_interpreter to {{ toolkit_venv }}/bin/python for this task.",
            exception=MISSING,
        )


@contextmanager
def readable_errors(module: AnsibleModule) -> Iterator[None]:
    """pacsops' own errors become the module's failure, with their hint. Others keep their traceback: defects."""
    from pacsops.errors import PacsopsError  # noqa: PLC0415 - after require_pacsops

    try:
        yield
    except PacsopsError as error:
        module.fail_json(msg=f"{error}" + (f" (hint: {error.hint})" if error.hint else ""), hint=error.hint)


def settings_of(params: Mapping[str, Any]) -> Settings:
    """The site's settings: what the task says, then `env_file`, then the environment.

    Raises:
        SettingsError: the file is missing or garbled.
    """
    from pacsops.settings import Settings  # noqa: PLC0415 - after require_pacsops

    settings = Settings.load(Path(params["env_file"]) if params.get("env_file") else None)
    said = {f"orthanc_{key}": params[key] for key in ("url", "username", "password") if params.get(key)}
    return replace(settings, **said)
