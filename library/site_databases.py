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
  env_file:
    description: The site's .env. pacsops' own database, which it names, gets the schema of this version.
    type: path
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
  sample: ["role orthanc is made", "database orthanc is made", "migration 0001_routing is applied"]
"""

from contextlib import closing
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import readable_errors, require_pacsops, settings_of

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
            "env_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    with readable_errors(module):
        findings = provisioned(module) + (migrated(module) if module.params["env_file"] else [])
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


def migrated(module: AnsibleModule) -> list[str]:
    """Likewise. A check run of a new site has neither settings nor PostgreSQL yet.

    Raises:
        SettingsError: the settings are missing or garbled.
        DatabaseUnreachable: nobody answers.
        SchemaMismatch: the database is newer than this version.
    """
    from pacsops.database import Database  # noqa: PLC0415 - after require_pacsops
    from pacsops.database.migrate import migrate, pending  # noqa: PLC0415
    from pacsops.errors import DatabaseUnreachable, SettingsError  # noqa: PLC0415

    try:
        with closing(Database(settings_of(module.params), application="deployment")) as database:
            names = pending(database) if module.check_mode else migrate(database)
    except (SettingsError, DatabaseUnreachable):
        if not module.check_mode:
            raise
        return []
    return [f"migration {name} is applied" for name in names]


if __name__ == "__main__":
    main()
