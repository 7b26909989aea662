#!/usr/bin/python
"""systemd services that run with the configuration their unit files name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_services
short_description: systemd services run with the configuration their unit files name
description:
  - Each unit is enabled and runs. One whose process was started with another C(CONFIGURATION=) in its environment
    than its unit file now has is restarted, so that a deployment that was cut short between the file and the restart
    is made good by the next one.
options:
  units:
    description: Names of the units, with C(.service) or C(.target).
    type: list
    elements: str
    required: true
  folder:
    description: Where the unit files are.
    type: path
    default: /etc/systemd/system
attributes:
  check_mode:
    support: full
    description: Says what would be started; changes nothing.
  diff_mode:
    support: none
    description: What changed is in the unit files.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: Orthanc runs with its present configuration
  systemd_services:
    units: [pacsops-orthanc.service]
"""

RETURN = r"""
enabled:
  description: Units that now start with the host.
  returned: success
  type: list
  elements: str
started:
  description: Units that did not run.
  returned: success
  type: list
  elements: str
restarted:
  description: Units that ran with another configuration.
  returned: success
  type: list
  elements: str
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

CONFIGURATION = re.compile(r"^Environment=CONFIGURATION=(\S+)$", re.MULTILINE)
ASKED = ("ActiveState", "UnitFileState", "NeedDaemonReload", "MainPID", "ExecMainStartTimestamp")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "folder": {"type": "path", "default": "/etc/systemd/system"},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["folder"])
    units = {unit: state(module, unit) for unit in module.params["units"]}
    enabled = [unit for unit, known in units.items() if known["UnitFileState"] != "enabled"]
    started = [unit for unit, known in units.items() if known["ActiveState"] not in {"active", "activating"}]
    restarted = [
        unit
        for unit, known in units.items()
        if unit not in started and outdated(folder / unit, known["MainPID"], known["ExecMainStartTimestamp"])
    ]
    if not module.check_mode:
        if any(known["NeedDaemonReload"] == "yes" or not known["UnitFileState"] for known in units.values()):
            systemctl(module, "daemon-reload")
        for words, names in (("enable", enabled), ("restart", [*started, *restarted])):
            if names:
                systemctl(module, words, *names)
    module.exit_json(
        changed=bool(enabled or started or restarted), enabled=enabled, started=started, restarted=restarted
    )


def state(module: AnsibleModule, unit: str) -> dict[str, str]:
    """What systemd says of a unit under the names in ASKED; empty strings for one it does not know."""
    told = systemctl(module, "show", "--timestamp=unix", f"--property={','.join(ASKED)}", unit)
    return {**dict.fromkeys(ASKED, ""), **dict(line.split("=", 1) for line in told.splitlines() if "=" in line)}


def outdated(file: Path, pid: str, began: str) -> bool:
    """Whether a process was started from an earlier version of its unit file. `began` as `@<seconds since 1970>`."""
    named = configured(file)
    if named is None:
        return False
    shown = running(pid)
    if shown is not None:
        return shown != named
    # nginx writes its title over its environment: then what counts is which of the two is the older one.
    return float(began.removeprefix("@") or 0) + 2 < file.stat().st_mtime


def configured(file: Path) -> str | None:
    """The configuration a unit file names, None when it names none (a target) or is not there yet."""
    found = CONFIGURATION.search(file.read_text()) if file.exists() else None
    return found[1] if found else None


def running(pid: str) -> str | None:
    """The configuration a process was started with (proc(5), environ), None when it does not show any."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return next((entry.partition("=")[2] for entry in environment if entry.startswith("CONFIGURATION=")), None)


def systemctl(module: AnsibleModule, *words: str) -> str:
    code, out, error = module.run_command(["systemctl", *words])
    if code != 0:
        module.fail_json(msg=f"systemctl {' '.join(words)}: {error.strip() or out.strip()}")
    return str(out)


if __name__ == "__main__":
    main()
