#!/usr/bin/python
"""Find what would stop a deployment half way."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_preflight
short_description: Find what would stop a deployment half way
description:
  - Looks at the host and the inventory, and fails with every problem at once. Changes nothing.
options:
  python_minimum:
    description: The oldest Python that serves, such as C(3.11).
    type: str
    required: true
  variables:
    description: Names of the variables with our prefixes that the inventory sets.
    type: list
    elements: str
    default: []
  known_variables:
    description: Names that roles read.
    type: list
    elements: str
    default: []
  secrets:
    description: Passwords by the variable that holds them.
    type: dict
    default: {}
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
  ports:
    description: Service name to the ports it will listen on, by the variable that sets each; 0 for none.
    type: dict
    default: {}
  pid_file:
    description: The supervisor's. Ports held by its descendants are ours.
    type: path
    required: true
  routes:
    description: The routes as routes.yml has them.
    type: list
    elements: dict
    default: []
  destinations:
    description: Names of the inventory's modalities.
    type: list
    elements: str
    default: []
  more_problems:
    description: Problems found elsewhere, to be shown with the others.
    type: list
    elements: str
    default: []
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
- name: Nothing stands in the way
  site_preflight:
    python_minimum: "3.11"
    folder: /opt/orthanc
    free_gib: 10
    pid_file: /opt/orthanc/run/supervisord.pid
    ports: {orthanc: {orthanc_dicom_port: 4242}}
"""

RETURN = r"""
problems:
  description: What stands in the way; empty when nothing does.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.site_preflight import (
    missing_programs,
    port_problems,
    python_problems,
    secret_problems,
    space_problems,
    unknown_destinations,
    unknown_variables,
)

NAMES = {"type": "list", "elements": "str", "default": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "python_minimum": {"type": "str", "required": True},
            "variables": NAMES,
            "known_variables": NAMES,
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "programs": {"type": "dict", "default": {}},
            "installable": NAMES,
            "folder": {"type": "path", "required": True},
            "free_gib": {"type": "float", "required": True},
            "ports": {"type": "dict", "default": {}},
            "pid_file": {"type": "path", "required": True},
            "routes": {"type": "list", "elements": "dict", "default": []},
            "destinations": NAMES,
            "more_problems": NAMES,
        },
        supports_check_mode=True,
    )
    asked = module.params
    problems = [
        *asked["more_problems"],
        *python_problems([int(part) for part in asked["python_minimum"].split(".")]),
        *unknown_variables(asked["variables"], asked["known_variables"]),
        *secret_problems(asked["secrets"]),
        *unknown_destinations(asked["routes"], asked["destinations"]),
        *missing_programs(asked["programs"], asked["installable"]),
        *space_problems(Path(asked["folder"]), asked["free_gib"]),
        *port_problems(asked["ports"], Path(asked["pid_file"])),
    ]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        module.fail_json(msg=f"Nothing was changed. To be mended first:\n{listed}", problems=problems)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
