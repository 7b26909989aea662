#!/usr/bin/python
"""Put the secrets of a site aside, so that new ones are made, and remove them later."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_secrets
short_description: Put the secrets of a site aside, so that new ones are made, and remove them later
description:
  - Works on the controller's files of secrets, one file a secret. Never reads, returns or shows a value.
options:
  folder:
    description: Where the files are.
    type: path
    required: true
  names:
    description: The secrets, by the names of their files.
    type: list
    elements: str
    required: true
  state:
    description:
      - With V(renewed), each becomes C(<name>.previous), unless there is one already from a run that was cut short.
      - With V(settled), the previous ones are removed.
    type: str
    choices: [renewed, settled]
    required: true
attributes:
  check_mode:
    support: full
    description: Tells what it would do.
  diff_mode:
    support: none
    description: Secrets are not shown.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The next look for Orthanc's password makes a new one
  site_secrets:
    folder: "{{ inventory_dir }}/secrets"
    names: [orthanc]
    state: renewed
  delegate_to: localhost
"""

RETURN = r"""
names:
  description: The secrets that were put aside or removed now.
  returned: always
  type: list
  elements: str
unfinished:
  description: With O(state=renewed), the secrets that an earlier run put aside already.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.site_secrets import put_aside, renewable, renewed, settle


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["renewed", "settled"], "required": True},
        },
        supports_check_mode=True,
    )
    folder, asked = Path(module.params["folder"]), module.params["names"]
    unfinished: list[str] = []
    if module.params["state"] == "renewed":
        names, unfinished = renewable(folder, asked)
        change = put_aside
    else:
        names, change = renewed(folder, asked), settle
    try:
        if not module.check_mode:
            change(folder, names)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(changed=bool(names), names=names, unfinished=unfinished)


if __name__ == "__main__":
    main()
