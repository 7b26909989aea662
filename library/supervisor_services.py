#!/usr/bin/python
"""A supervisor, and services of it that run with the configuration they are described with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor_services
short_description: A supervisor, and services of it that run with the configuration they are described with
description:
  - Puts the supervisor's configuration in place and starts it where it does not run. Says which services do not run
    as they are described, and brings up those of them that it is told to. A deployment that was cut short between the
    description and the restart is made good by the next one.
options:
  configuration:
    description: The supervisor's own configuration file.
    type: path
    required: true
  configuration_content:
    description: What it says.
    type: str
    required: true
  services_file:
    description: The file that describes the services; the configuration includes it.
    type: path
    required: true
  services_secret:
    description: What it says, shown neither in a diff nor in a log.
    type: str
    required: true
  socket:
    description: Where the supervisor listens.
    type: path
    required: true
  start:
    description: What starts it.
    type: list
    elements: str
    required: true
  services:
    description: Those to bring up; others are only looked at.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the supervisor has to answer, a service's time to stop among them.
    type: float
    default: 120
attributes:
  check_mode:
    support: full
    description: Says what would be started; changes nothing.
  diff_mode:
    support: partial
    description: Of the supervisor's own configuration. Services' environments have passwords.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: Orthanc runs with its present configuration
  supervisor_services:
    configuration: /opt/orthanc/config/supervisord.conf
    configuration_content: "{{ lookup('ansible.builtin.template', 'supervisord.conf.j2') }}"
    services_file: /opt/orthanc/config/services.conf
    services_secret: "{{ lookup('ansible.builtin.template', 'supervisord.services.j2') }}"
    socket: /opt/orthanc/run/supervisor.sock
    start: [/opt/orthanc/venv/bin/supervisord, -c, /opt/orthanc/config/supervisord.conf]
    services: [orthanc]
"""

RETURN = r"""
pending:
  description: Services that do not run as they are described, those that were brought up among them.
  returned: success
  type: list
  elements: str
  sample: [orthanc]
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.supervisor_rpc import Supervisor

SERVICE = re.compile(r"^\[program:(.+)\]$", re.MULTILINE)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "path", "required": True},
            "configuration_content": {"type": "str", "required": True},
            "services_file": {"type": "path", "required": True},
            "services_secret": {"type": "str", "required": True, "no_log": True},
            "socket": {"type": "path", "required": True},
            "start": {"type": "list", "elements": "str", "required": True},
            "services": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 120},
        },
        supports_check_mode=True,
    )
    asked = module.params
    supervisor = Supervisor(asked["socket"], asked["timeout"])
    before = text_of(Path(asked["configuration"]))
    own = before != asked["configuration_content"]
    described = described_in(asked["services_secret"])
    known = described_in(text_of(Path(asked["services_file"])) or "")
    ran = supervisor.answers()
    if not module.check_mode:
        bring_up_supervisor(module, supervisor, ran=ran, other=own)
        # Only now: what starts with a supervisor must not be what no role has configured yet.
        if described != known:
            put(asked["services_file"], asked["services_secret"])

    pending = {service for service, text in described.items() if known.get(service) != text}
    pending |= unlike_described(supervisor, set(described)) if ran or not module.check_mode else set(described)
    wanted = sorted(pending & set(asked["services"]))
    if wanted and not module.check_mode:
        bring_up(supervisor, wanted)
    module.exit_json(
        changed=own or described != known or not ran or bool(wanted),
        pending=sorted(pending),
        diff=[difference(asked, before)] if own else [],
    )


def text_of(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def described_in(text: str) -> dict[str, str]:
    """Each service's name, and the text that describes it."""
    pieces = SERVICE.split(text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def bring_up_supervisor(module: AnsibleModule, supervisor: Supervisor, *, ran: bool, other: bool) -> None:
    """It runs, with its own configuration."""
    if other:
        put(module.params["configuration"], module.params["configuration_content"])
    if ran and other:
        process = Path(f"/proc/{supervisor.shut_down()}")
        # Until the process is gone, not only silent: in the end it removes its socket and its pid file.
        within(module, lambda: not process.exists(), "does not end")
    if other or not ran:
        code, out, error = module.run_command(module.params["start"])
        if code != 0:
            module.fail_json(msg=f"the supervisor does not start: {error.strip() or out.strip()}")
    within(module, supervisor.answers, "does not answer")


def put(path: str, text: str) -> None:
    """Write it beside its place, for its owner's eyes only, and rename."""
    beside = Path(f"{path}.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(text)
    beside.replace(path)


def unlike_described(supervisor: Supervisor, services: set[str]) -> set[str]:
    added, changed, _ = supervisor.unlike_configured()
    return (services - supervisor.running()) | ((added | changed) & services)


def bring_up(supervisor: Supervisor, services: list[str]) -> None:
    added, changed, _ = supervisor.unlike_configured()
    for service in services:
        if service in changed:
            supervisor.remove(service)
        if service in added | changed:
            supervisor.add(service)
        else:
            supervisor.start(service)


def within(module: AnsibleModule, holds: Callable[[], bool], otherwise: str) -> None:
    ends = time.monotonic() + module.params["timeout"]
    while not holds():
        if time.monotonic() > ends:
            module.fail_json(msg=f"the supervisor {otherwise}; see its log, supervisord.log")
        time.sleep(0.05)


def difference(asked: dict[str, Any], before: str | None) -> dict[str, str]:
    path = asked["configuration"]
    return {
        "before_header": path,
        "after_header": path,
        "before": before or "",
        "after": asked["configuration_content"],
    }


if __name__ == "__main__":
    main()
