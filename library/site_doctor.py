#!/usr/bin/python
"""What `orthanc doctor` finds on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_doctor
short_description: Examine a host of a site
description:
  - Runs the checks of C(orthanc doctor) and returns what they found. Changes nothing and never fails over a finding.
  - Destinations are asked side by side, and a check that hangs is a finding that names it.
options:
  scope:
    description: V(all) checks, or only those about the V(host) it runs on; the others are the same from every host.
    type: str
    choices: [all, host]
    default: all
  only:
    description: Only checks with these ids, as C(orthanc doctor --list-checks) names them.
    type: list
    elements: str
    default: []
  env_file:
    description: The site's settings, C(/opt/orthanc/.env) by default. E(ORTHANC_ENV) names another one.
    type: path
attributes:
  check_mode:
    support: full
    description: It only looks.
  diff_mode:
    support: none
    description: It only looks.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The host is examined
  site_doctor:
    scope: host
  register: found

- name: Nothing is broken
  ansible.builtin.assert:
    that: found.summary.errors == 0
"""

RETURN = r"""
checks:
  description: The findings, an entry each; a check may have several, apart by V(subject). V(seen) is false for what
    could not be looked at.
  returned: success
  type: list
  elements: dict
  sample:
    - id: destination-echo
      section: DESTINATIONS
      scope: site
      subject: MODLINK
      severity: error
      message: "MODLINK (10.251.201.59:104) - connection refused: nothing listens on the destination's port"
      evidence: {milliseconds: 12, error_class: refused}
      recommendation: check the port, and with its administrator that the DICOM service runs
      fix: null
      seen: true
summary:
  description: How many findings of each kind.
  returned: success
  type: dict
  sample: {ok: 25, warnings: 1, errors: 1, unseen: 0}
seconds:
  description: What each check took.
  returned: success
  type: dict
  sample: {destination-echo: 5.2}
exit_code:
  description: 0 healthy, 1 warnings or something that could not be looked at, 2 errors.
  returned: success
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import SITE_ARGUMENTS, require_pacsops


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SITE_ARGUMENTS,
            "scope": {"type": "str", "choices": ["all", "host"], "default": "all"},
            "only": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    from pacsops.doctor import chosen  # noqa: PLC0415 - after require_pacsops

    try:
        checks = chosen(module.params["only"], host_only=module.params["scope"] == "host")
    except KeyError as unknown:
        module.fail_json(msg=f"there is no check {unknown}: `orthanc doctor --list-checks` names them")
    module.exit_json(changed=False, **found(module.params["env_file"], checks))


def found(env_file: str | None, checks: Any) -> dict[str, Any]:
    """Everything under RETURN."""
    from pacsops.doctor import Site, as_document, examine  # noqa: PLC0415
    from pacsops.settings import Settings  # noqa: PLC0415

    site = Site(lambda: Settings.load(Path(env_file) if env_file else None))
    try:
        document = as_document(examine(site, checks))
    finally:
        site.close()
    del document["fixed"]
    return document


if __name__ == "__main__":
    main()
