#!/usr/bin/python
"""C-ECHO DICOM peers from this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dicom_echo
short_description: C-ECHO DICOM peers from this host
description:
  - Asks DICOM peers, side by side, whether they answer a C-ECHO (DICOM PS3.4 annex A), and how quickly. Changes
    nothing, there or here.
  - The peers see the host the task runs on, under O(calling_aet).
  - Needs the pacsops package in the Python it runs with.
options:
  peers:
    description: Who is asked.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What people call it.
        type: str
        required: true
      aet:
        description: Its AE title.
        type: str
        required: true
      host:
        description: Its host name or address.
        type: str
        required: true
      port:
        description: Its DICOM port.
        type: int
        default: 104
      use_dicom_tls:
        description: It is spoken to over TLS, which needs O(tls).
        type: bool
        default: false
  tls:
    description: What peers are shown over TLS, and who is believed of them; files in PEM form.
    type: dict
    suboptions:
      certificate:
        description: Our certificate.
        type: path
        required: true
      key:
        description: Its key.
        type: path
        required: true
      trusted:
        description: The authorities that are believed.
        type: path
        required: true
  calling_aet:
    description: The AE title that asks; a peer may answer only those it knows.
    type: str
    required: true
  timeout:
    description: Seconds for each of connecting, associating and answering.
    type: float
    default: 5
  slow_ms:
    description: A peer that needs more milliseconds than this is warned about.
    type: int
    default: 1000
  fail_on_unreachable:
    description: Fail when a peer does not answer.
    type: bool
    default: false
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
- name: Every destination answers
  dicom_echo:
    calling_aet: ORTHANC
    peers:
      - {name: MODLINK, aet: MODLINK, host: 10.251.201.59, port: 104}
    fail_on_unreachable: true
"""

RETURN = r"""
peers:
  description: How each peer answered, in the order asked.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What people call it.
      type: str
      sample: MODLINK
    outcome:
      description: C(answered), C(rejected), C(refused), C(unreachable), C(timeout) or C(aborted).
      type: str
      sample: refused
    milliseconds:
      description: From connecting to the answer, or to giving up.
      type: int
      sample: 45
    reason:
      description: In plain words; empty when it answered.
      type: str
      sample: connection refused
    slow:
      description: It answered, after more than O(slow_ms).
      type: bool
      sample: false
findings:
  description: Who did not answer, and who answered slowly, in sentences.
  returned: always
  type: list
  elements: str
  sample: ["MODLINK: connection refused"]
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import require_pacsops

PEER = {
    "name": {"type": "str", "required": True},
    "aet": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 104},
    "use_dicom_tls": {"type": "bool", "default": False},
}
TLS = {
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},  # a path, not a key
    "trusted": {"type": "path", "required": True},
}
SIDE_BY_SIDE = 32


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "list", "elements": "dict", "required": True, "options": PEER},
            "tls": {"type": "dict", "options": TLS},
            "calling_aet": {"type": "str", "required": True},
            "timeout": {"type": "float", "default": 5},
            "slow_ms": {"type": "int", "default": 1000},
            "fail_on_unreachable": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    from pacsops.dimse.verification import echo, tls_context  # noqa: PLC0415

    asked = module.params
    over_tls = [peer["name"] for peer in asked["peers"] if peer["use_dicom_tls"]]
    if over_tls and not asked["tls"]:
        module.fail_json(msg=f"{', '.join(over_tls)} cannot be asked over TLS without tls: certificate, key, trusted")
    try:
        context = tls_context(**asked["tls"]) if over_tls else None
    except OSError as error:
        module.fail_json(msg=f"the files for TLS cannot be used: {error}")

    def ask(peer: dict[str, Any]) -> dict[str, Any]:
        try:
            tls = context if peer["use_dicom_tls"] else None
            result = echo(peer["host"], peer["port"], peer["aet"], asked["calling_aet"], asked["timeout"], tls=tls)
        except ValueError as error:
            module.fail_json(msg=f"{peer['name']} cannot be asked: {error}")
        slow = result.ok and result.milliseconds > asked["slow_ms"]
        return {"name": peer["name"], **asdict(result), "slow": slow}

    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        peers = list(pool.map(ask, asked["peers"]))
    silent = [f"{peer['name']}: {peer['reason']}" for peer in peers if peer["outcome"] != "answered"]
    slow = [f"{peer['name']} answers slowly: {peer['milliseconds']} ms" for peer in peers if peer["slow"]]
    for finding in slow:
        module.warn(finding)
    if silent and asked["fail_on_unreachable"]:
        module.fail_json(msg="No answer to C-ECHO from " + "; ".join(silent), peers=peers, findings=silent + slow)
    module.exit_json(changed=False, peers=peers, findings=silent + slow)


if __name__ == "__main__":
    main()
