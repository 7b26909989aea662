#!/usr/bin/python
"""Find what an inventory says that cannot be meant."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_inventory
short_description: Find what an inventory says that cannot be meant
description:
  - Runs on the controller and looks at what the inventory says of all its hosts. Touches no host, changes nothing,
    and never fails for what it finds.
options:
  groups:
    description: Group to its hosts, of the whole inventory.
    type: dict
    required: true
  known_groups:
    description: The groups that mean something to a role.
    type: list
    elements: str
    required: true
  known_variables:
    description: Names that roles read.
    type: list
    elements: str
    required: true
  former_variables:
    description: Names that roles read once, to C(now), the present name, or C(gone), why there is none.
    type: dict
    default: {}
  runtimes:
    description: The kinds of runtime there are.
    type: list
    elements: str
    required: true
  collections_paths:
    description: Where Ansible looks for collections, besides where its Python does.
    type: list
    elements: str
    default: []
  secrets_folder:
    description: Where the controller keeps generated passwords. It need not exist.
    type: path
    required: true
  hosts:
    description:
      - Host to what the inventory says of it. See C(_preflight_host) in the role preflight's variables.
    type: dict
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
- name: The inventory is looked at
  site_inventory:
    groups: "{{ groups }}"
    known_groups: [database, orthanc, router]
    known_variables: [orthanc_aet]
    runtimes: [compose]
    secrets_folder: "{{ inventory_dir }}/secrets"
    hosts: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__preflight_host'))) }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
problems:
  description: What cannot be meant, one sentence each; empty when all can.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.preflight_inventory import inventory_problems, mode_of

NAMES = {"type": "list", "elements": "str", "required": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "groups": {"type": "dict", "required": True},
            "known_groups": NAMES,
            "known_variables": NAMES,
            "former_variables": {"type": "dict", "default": {}},
            "runtimes": NAMES,
            "collections_paths": {"type": "list", "elements": "str", "default": []},
            "secrets_folder": {"type": "path", "required": True, "no_log": False},
            "hosts": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    secrets_mode = mode_of(Path(module.params["secrets_folder"]))
    module.exit_json(changed=False, problems=list(inventory_problems(module.params, secrets_mode)))


if __name__ == "__main__":
    main()
