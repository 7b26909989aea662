#!/usr/bin/python
"""Who may log in to nginx, and with which password."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_users
short_description: Who may log in to nginx
description:
  - Writes the file that nginx's C(auth_basic_user_file) names. Passwords are kept as salted hashes (SHA-512 of
    crypt); one that still holds keeps its line. nginx reads the file anew for each request and needs no restart.
options:
  path:
    description: The file.
    type: path
    required: true
  users:
    description: Name to password. Others in the file are removed.
    type: dict
    required: true
extends_documentation_fragment: ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Tells whether the file would change and writes nothing.
  diff_mode:
    support: full
    description: The names, and whose password is another one.
  idempotent:
    support: full
    description: The file is written only where somebody or a password is new or gone.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The radiologists may log in
  nginx_users:
    path: /opt/orthanc/config/viewer/users
    users: "{{ viewer_users }}"
    group: www-data
    mode: "0640"
"""

RETURN = r"""
users:
  description: Who may log in.
  returned: success
  type: list
  elements: str
  sample: [viewer]
"""

import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.nginx_users import renewed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {"type": "dict", "required": True, "no_log": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path, users = Path(module.params["path"]), {str(name): str(word) for name, word in module.params["users"].items()}
    for name in users:
        if not name or not name.isprintable() or ":" in name:
            module.fail_json(msg="a user's name is empty or has a colon or a line's end in it")
    try:
        present = path.read_text() if path.exists() else ""
        wanted = renewed(present, users)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path}: {error}")
    changed = wanted != present
    if changed and not module.check_mode:
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False) as new:
            new.write(wanted)
        module.atomic_move(new.name, str(path))
    if path.exists():
        arguments = module.load_file_common_arguments(module.params)
        changed = module.set_fs_attributes_if_different(arguments, changed)
    module.exit_json(
        changed=changed,
        users=sorted(users),
        diff={"before": told(present, present), "after": told(wanted, present)},
    )


def told(content: str, before: str) -> str:
    """Names alone; beside one whose line is another one than before, that its password is new."""
    old = set(before.splitlines())
    return "".join(
        f"{line.split(':', 1)[0]}{'' if line in old else ' (new password)'}\n" for line in content.splitlines()
    )


if __name__ == "__main__":
    main()
