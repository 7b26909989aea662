#!/usr/bin/python
"""Roles and the databases they own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_databases
short_description: Roles and the databases they own
description:
  - Makes roles that log in with a password and a database for each, as PostgreSQL's superuser over its socket. No
    password is on a command line, in PostgreSQL's log, or in what this returns.
options:
  socket:
    description: The folder of PostgreSQL's socket, on this host.
    type: path
    required: true
  port:
    description: PostgreSQL's port, which names the socket.
    type: int
    required: true
  databases:
    description: What there has to be.
    type: list
    elements: dict
    required: true
    suboptions:
      database:
        description: The database.
        type: str
        required: true
      user:
        description: The role that owns it.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
  fail_on_unreachable:
    description: Fail when PostgreSQL does not answer; otherwise that is a finding. A check run never fails on it.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Says what would be done; a PostgreSQL that is not there yet is all to be done.
  diff_mode:
    support: full
    description: The sentences of RV(findings).
author:
  - pacsops
"""

EXAMPLES = r"""
- name: Orthanc's index has a database
  site_databases:
    socket: /opt/orthanc/run/postgres
    port: 5432
    databases:
      - {database: orthanc, user: orthanc, password: "{{ orthanc_database_password }}"}
"""

RETURN = r"""
findings:
  description: What was done, or in a check run would be, in sentences; or why PostgreSQL cannot be asked.
  returned: always
  type: list
  elements: str
  sample: ["role orthanc is made", "role orthanc has its password", "database orthanc is made"]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import readable_errors, require_pacsops

DATABASE = {
    "database": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "port": {"type": "int", "required": True},
            "databases": {"type": "list", "elements": "dict", "required": True, "options": DATABASE},
            "fail_on_unreachable": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    with readable_errors(module):
        findings = provisioned(module)
    after = "".join(f"{finding}\n" for finding in findings)
    module.exit_json(changed=bool(findings), findings=findings, diff={"before": "", "after": after})


def provisioned(module: AnsibleModule) -> list[str]:
    """What was or would be done.

    Raises:
        DatabaseUnreachable: nobody answers, and that is a failure here.
    """
    from pacsops.database.provision import OwnedDatabase, provision  # noqa: PLC0415 - after require_pacsops
    from pacsops.errors import DatabaseUnreachable  # noqa: PLC0415

    wanted = [OwnedDatabase(**each) for each in module.params["databases"]]
    try:
        return provision(Path(module.params["socket"]), module.params["port"], wanted, apply=not module.check_mode)
    except DatabaseUnreachable as error:
        if module.params["fail_on_unreachable"] and not module.check_mode:
            raise
        return [str(error)]


if __name__ == "__main__":
    main()
