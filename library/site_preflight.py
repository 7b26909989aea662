#!/usr/bin/python
"""Find what a host lacks for what the inventory wants of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_preflight
short_description: Find what a host lacks for what the inventory wants of it
description:
  - Looks at the host, changes nothing, and never fails for what it finds.
  - What roles ask about a host becomes facts, under the names that C(ansible.builtin.setup) gives them; that module
    would take longer than this one.
options:
  python:
    description: The Python that runs the package, or will.
    type: path
    required: true
  python_minimum:
    description: The oldest version of it that serves, such as C(3.11).
    type: str
    required: true
  any_os:
    description: Take a system that was never tried.
    type: bool
    default: false
  runtime:
    description: The kind of runtime.
    type: str
    required: true
  project:
    description: What Compose calls the site.
    type: str
    default: pacsops
  programs:
    description: Path to the Debian package that brings it.
    type: dict
    default: {}
  installable:
    description: Packages that are installed later without being asked for, where root's rights can be had.
    type: list
    elements: str
    default: []
  folder:
    description: Where the site lives, or will.
    type: path
    required: true
  free_gib:
    description: GiB that must be free there.
    type: float
    required: true
  rooms:
    description: Further folders, to the GiB that must be free there.
    type: dict
    default: {}
  memory_mib:
    description: MiB that the host's services may use together; 0 where nothing holds them to it.
    type: int
    default: 0
  controller_time:
    description: Seconds since 1970 by the controller's clock.
    type: float
    required: true
  clock_difference:
    description: Seconds by which the host's clock may differ from that. 0 for any.
    type: float
    default: 5
  ntp:
    description: Whether the clock must be synchronised.
    type: bool
    default: true
  names:
    description: Whose to a host name or address that must be known on this host.
    type: dict
    default: {}
  ports:
    description: Service name to the ports it will listen on, by the variable that sets each; 0 for none.
    type: dict
    default: {}
  pid_file:
    description: The supervisor's. Ports held by its descendants are ours.
    type: path
    required: true
  secrets_folder:
    description: Where the controller keeps generated passwords.
    type: str
    required: true
  secrets_missing:
    description: Whether the controller has no password of the site at all.
    type: bool
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Nothing to show.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The host is looked at
  site_preflight:
    python: /usr/bin/python3
    python_minimum: "3.11"
    runtime: systemd
    folder: /opt/orthanc
    free_gib: 10
    controller_time: "{{ now(utc=true).timestamp() }}"
    pid_file: /opt/orthanc/run/supervisord.pid
    ports: {orthanc: {orthanc_dicom_port: 4242}}
    secrets_folder: "{{ inventory_dir }}/secrets"
    secrets_missing: false
"""

RETURN = r"""
problems:
  description: What stands in the way, one sentence each; empty when nothing does.
  returned: always
  type: list
  elements: str
ansible_facts:
  description: What roles ask about a host.
  returned: always
  type: dict
  sample:
    effective_user_id: 0
    effective_group_id: 0
    python: {executable: /usr/bin/python3}
    pkg_mgr: apt
    service_mgr: systemd
    distribution_release: bookworm
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.preflight_host import host_facts, host_problems
from ansible.module_utils.preflight_ports import port_problems


def main() -> None:
    now = time.time()
    module = AnsibleModule(
        argument_spec={
            "python": {"type": "path", "required": True},
            "python_minimum": {"type": "str", "required": True},
            "any_os": {"type": "bool", "default": False},
            "runtime": {"type": "str", "required": True},
            "project": {"type": "str", "default": "pacsops"},
            "programs": {"type": "dict", "default": {}},
            "installable": {"type": "list", "elements": "str", "default": []},
            "folder": {"type": "path", "required": True},
            "free_gib": {"type": "float", "required": True},
            "rooms": {"type": "dict", "default": {}},
            "memory_mib": {"type": "int", "default": 0},
            "controller_time": {"type": "float", "required": True},
            "clock_difference": {"type": "float", "default": 5},
            "ntp": {"type": "bool", "default": True},
            "names": {"type": "dict", "default": {}},
            "ports": {"type": "dict", "default": {}},
            "pid_file": {"type": "path", "required": True},
            "secrets_folder": {"type": "str", "required": True, "no_log": False},
            "secrets_missing": {"type": "bool", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    asked = module.params
    problems = [
        *host_problems(asked, now=now),
        *port_problems(asked["ports"], Path(asked["pid_file"]), asked["project"]),
    ]
    module.exit_json(changed=False, problems=problems, ansible_facts=host_facts())


if __name__ == "__main__":
    main()
