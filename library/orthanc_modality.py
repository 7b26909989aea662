#!/usr/bin/python
"""DICOM modalities of Orthanc: destinations and senders."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orthanc_modality
short_description: DICOM modalities of Orthanc
description:
  - Brings Orthanc's DICOM modalities (destinations and senders) to a wanted state over its REST API. Orthanc takes
    changes at once and needs no restart.
  - Rights must be given on purpose; Orthanc itself would allow everything not denied. A destination that sends
    results back needs O(modalities[].allow_store).
  - Modalities that are not named are left alone, and returned in RV(unmanaged). RV(drift) tells in sentences how
    Orthanc was found, for a check run to show.
  - Needs the pacsops package in the Python it runs with.
options:
  modalities:
    description: The modalities. With O(state=absent) only their names matter.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What routes.yml and people call it. Letters, digits, C(-) and C(_).
        type: str
        required: true
      aet:
        description: Its AE title, 1 to 16 characters. Required with O(state=present).
        type: str
      host:
        description: Its host name or address. Required with O(state=present).
        type: str
      port:
        description: Its DICOM port.
        type: int
        default: 104
      manufacturer:
        description: The kind of peer, in Orthanc's words.
        type: str
        default: Generic
      allow_echo:
        description: It may C-ECHO us.
        type: bool
        default: true
      allow_store:
        description: It may send us images.
        type: bool
        default: false
      allow_find:
        description: It may search here.
        type: bool
        default: false
      allow_move:
        description: It may have images sent elsewhere.
        type: bool
        default: false
      allow_get:
        description: It may retrieve images.
        type: bool
        default: false
      use_dicom_tls:
        description: It is spoken to over TLS, for which Orthanc needs a certificate (C(DicomTlsCertificate)).
        type: bool
        default: false
      verify:
        description:
          - How it is asked, after each delivery, whether it has the images. Unset leaves it as it is, which is
            V(none) at first.
          - Kept in the site's PostgreSQL, which is needed then.
        type: str
        choices: [none, find, storage_commitment]
      transport:
        description:
          - Who sends to it what Orthanc received. V(orthanc) does by its jobs; V(direct) has the router do it, which
            goes on where it was when it is interrupted, and speaks no TLS. Unset leaves it as it is, which is
            V(orthanc) at first.
          - Kept in the site's PostgreSQL, which is needed then.
        type: str
        choices: [orthanc, direct]
      canary:
        description:
          - It takes synthetic studies. Nothing of Orthanc's; here so that an inventory's entries can be passed on as
            they are.
        type: bool
        default: false
  state:
    description: Whether Orthanc has them.
    type: str
    choices: [present, absent]
    default: present
  env_file:
    description: The site's settings, C(/opt/orthanc/.env) by default. E(ORTHANC_ENV) names another one.
    type: path
  url:
    description: Orthanc's REST API, when not the one of O(env_file). E(ORTHANC_URL) does the same.
    type: str
  username:
    description: Its user, when not the one of O(env_file). E(ORTHANC_USERNAME) does the same.
    type: str
  password:
    description: That user's password. E(ORTHANC_PASSWORD) does the same.
    type: str
attributes:
  check_mode:
    support: full
    description: Tells what would change and writes nothing.
  diff_mode:
    support: full
    description: Every value of a changed modality before and after.
  idempotent:
    support: full
    description: Orthanc is written to only where something differs.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The destinations are registered
  orthanc_modality:
    modalities:
      - {name: MODLINK, aet: MODLINK, host: 10.251.201.59, port: 104}
      - {name: MERCURE, aet: MERCURE, host: 172.17.0.1, port: 11112, allow_store: true}

- name: The old archive is gone
  orthanc_modality:
    modalities: [{name: OLD_PACS}]
    state: absent
"""

RETURN = r"""
modalities:
  description: The named modalities as they are now, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample: [{name: MODLINK, aet: MODLINK, host: 10.251.201.59, port: 104, allow_echo: true, allow_store: false}]
unmanaged:
  description: Names of modalities that Orthanc has besides.
  returned: success
  type: list
  elements: str
  sample: [STANFORD_PACS]
drift:
  description:
    - How Orthanc differed from the named modalities before anything was written, a sentence each. Of one that was not
      named, with the entry that would make it the inventory's.
  returned: success
  type: list
  elements: str
  sample: ["MODLINK differs: port is 4242, the inventory says 104"]
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import (
    ORTHANC_ARGUMENTS,
    readable_errors,
    require_pacsops,
    settings_of,
)

RIGHTS = {f"allow_{service}": {"type": "bool", "default": False} for service in ("store", "find", "move", "get")}
MODALITY = {
    "name": {"type": "str", "required": True},
    "aet": {"type": "str"},
    "host": {"type": "str"},
    "port": {"type": "int", "default": 104},
    "manufacturer": {"type": "str", "default": "Generic"},
    "allow_echo": {"type": "bool", "default": True},
    **RIGHTS,
    "use_dicom_tls": {"type": "bool", "default": False},
    "verify": {"type": "str", "choices": ["none", "find", "storage_commitment"]},
    "transport": {"type": "str", "choices": ["orthanc", "direct"]},
    "canary": {"type": "bool", "default": False},
}
OURS = {"verify", "transport", "canary"}
"""What Orthanc keeps nothing of."""
KEPT_BY_US = ("verify", "transport")
"""What is kept in the site's PostgreSQL instead."""
FIRST = {"verify": "none", "transport": "orthanc"}
SAID = {"verify": "verification", "transport": "transport"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ORTHANC_ARGUMENTS,
            "modalities": {"type": "list", "elements": "dict", "required": True, "options": MODALITY},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    from pacsops.orthanc import Modality, Orthanc, all_modalities, drift, ensure, remove  # noqa: PLC0415

    entries = module.params["modalities"]
    present = module.params["state"] == "present"
    for entry in entries:
        if present and not (entry["aet"] and entry["host"]):
            module.fail_json(msg=f"modality {entry['name']} needs aet and host")
    with readable_errors(module):
        orthanc = Orthanc.of(settings_of(module.params))
        apply = not module.check_mode
        found: list[str] = []
        if present:
            ours = {key: {entry["name"]: entry[key] for entry in entries if entry[key]} for key in KEPT_BY_US}
            wanted = [Modality(**{key: entry[key] for key in entry if key not in OURS}) for entry in entries]
            for modality in wanted:  # all are sound before the first is written
                modality.check()
            found = drift(wanted, all_modalities(orthanc)).lines()
            changes = [ensure(orthanc, modality, apply=apply) for modality in wanted]
            kept = set_ours(module.params, ours, apply=apply) if any(ours.values()) else []
        else:
            kept = []
            changes = [remove(orthanc, entry["name"], apply=apply) for entry in entries]
        others = set(all_modalities(orthanc)) - {entry["name"] for entry in entries}
    module.exit_json(
        changed=any(change.changed for change in changes) or bool(kept),
        diff=kept
        + [
            {**change.diff(), "before_header": entry["name"], "after_header": entry["name"]}
            for change, entry in zip(changes, entries, strict=True)
            if change.changed
        ],
        modalities=[asdict(change.after) for change in changes if change.after],
        unmanaged=sorted(others),
        drift=found,
    )


def set_ours(
    params: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]], *, apply: bool
) -> list[dict[str, Any]]:
    """What PostgreSQL keeps of destinations: key of KEPT_BY_US → name → value; the differences."""
    from pacsops.database import Database  # noqa: PLC0415
    from pacsops.database.migrate import require_current  # noqa: PLC0415
    from pacsops.delivery import desk  # noqa: PLC0415

    database = Database(settings_of(params), application="ansible orthanc_modality")
    require_current(database)
    known = desk.destination_health(database)
    differences = []
    for key, values in wanted.items():
        for name, value in values.items():
            before = getattr(known[name], key) if name in known else FIRST[key]
            if before == value:
                continue
            if apply and key == "verify":
                desk.set_verification(database, name, desk.Method(value))
            elif apply:
                desk.set_transport(database, name, value)
            header = f"{name}, {SAID[key]}"
            differences.append(
                {"before": {key: before}, "after": {key: value}, "before_header": header, "after_header": header}
            )
    return differences


if __name__ == "__main__":
    main()
