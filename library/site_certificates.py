#!/usr/bin/python
"""Certificates of a host's services, from the site's own authority or its own files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_certificates
short_description: Certificates of a host's services
description:
  - Keeps a site's own certificate authority and the certificates it issued in a folder, made for the controller. A
    certificate is made anew when it is missing, about to end, for other names, or another authority's.
  - A service with files of the site's own is given those, after a look whether they belong together.
  - Keys are ECDSA P-256, files for their owner alone. No key is ever returned or shown.
options:
  folder:
    description: The folder of the authority and its certificates. Made when it is needed.
    type: path
    required: true
  authority_name:
    description: The common name of a new authority.
    type: str
    default: pacsops site authority
  host:
    description: The host the certificates are for.
    type: str
    required: true
  services:
    description: Its services.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the service is called.
        type: str
        required: true
      names:
        description: The DNS names and addresses it is reached by, the first its common name.
        type: list
        elements: str
        default: []
      certificate:
        description: The site's own certificate, with those that lead to its authority below it, in PEM form.
        type: path
      key:
        description: Its key, in PEM form and without a password. Goes with O(services[].certificate).
        type: path
  authority:
    description: Have the site's authority though no service here has a certificate of it, for what others show.
    type: bool
    default: false
  days:
    description: Days a certificate lasts, from when it is made.
    type: int
    default: 397
  renew_days:
    description: Days before its end from which a certificate is made anew.
    type: int
    default: 30
  authority_days:
    description: Days a new authority lasts.
    type: int
    default: 3650
attributes:
  check_mode:
    support: full
    description: Tells what would be made and writes nothing.
  diff_mode:
    support: full
    description: The ends of the changed certificates, and why they are new.
  idempotent:
    support: full
    description: A certificate that still serves is left alone.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: The viewer's certificate is at hand
  site_certificates:
    folder: "{{ inventory_dir }}/secrets/ca"
    host: "{{ inventory_hostname }}"
    services:
      - {name: viewer, names: [view1, view1.hospital.example, 192.0.2.13]}
  delegate_to: localhost
"""

RETURN = r"""
authority:
  description: The file of the authority's certificate; null when every service has files of the site's own.
  returned: success
  type: str
  sample: /srv/inventories/hospital/secrets/ca/ca.crt
certificates:
  description: The certificates by service. V(made) says whether one is another now; a check run made no files for it.
  returned: success
  type: dict
  sample:
    viewer: {certificate: view1/viewer.crt, key: view1/viewer.key, fingerprint: 4f1c, ends: "2027-12-01", made: false}
ending:
  description: Certificates of the site's own that end soon, in sentences; they are warnings, too.
  returned: success
  type: list
  elements: str
  sample: [the certificate of viewer on view1 ends on 2027-12-01]
"""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.site_certificates import (
    Authority,
    CertificateTrouble,
    Issued,
    Terms,
    authority,
    described,
    held,
    leaf,
    now,
    own,
    safe,
)

SERVICE = {
    "name": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "certificate": {"type": "path"},
    "key": {"type": "path", "no_log": False},  # a path, not a key
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "authority_name": {"type": "str", "default": "pacsops site authority"},
            "host": {"type": "str", "required": True},
            "services": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": SERVICE,
                "required_together": [("certificate", "key")],
            },
            "authority": {"type": "bool", "default": False},
            "days": {"type": "int", "default": 397},
            "renew_days": {"type": "int", "default": 30},
            "authority_days": {"type": "int", "default": 3650},
        },
        supports_check_mode=True,
    )
    try:
        issuer, issued = provide(module.params, write=not module.check_mode)
    except (CertificateTrouble, OSError) as error:
        module.fail_json(msg=str(error))
    soon = now() + timedelta(days=module.params["renew_days"])
    ending = [
        f"the certificate of {service} on {module.params['host']} ends on {one.ends:%Y-%m-%d}"
        for service, one in issued.items()
        if one.ends <= soon
    ]
    for finding in ending:
        module.warn(finding)
    made = {service: one for service, one in issued.items() if one.why}
    module.exit_json(
        changed=bool(made) or bool(issuer and issuer.new),
        authority=str(Path(module.params["folder"]) / "ca.crt") if issuer else None,
        certificates={service: returned(one) for service, one in issued.items()},
        ending=ending,
        diff={
            "before": "".join(f"{service}: {one.why}\n" for service, one in sorted(made.items())),
            "after": described(made),
        },
    )


def provide(params: Mapping[str, Any], *, write: bool) -> tuple[Authority | None, dict[str, Issued]]:
    """The authority, where one is needed, and each service's certificate.

    Raises:
        CertificateTrouble: something an operator has to mend.
    """
    folder, terms = Path(params["folder"]), Terms(params["days"], params["renew_days"], params["authority_days"])
    host, moment = safe(params["host"], "host"), now()
    own_files = {each["name"]: each for each in params["services"] if each["certificate"]}
    others = {safe(each["name"], "service"): each for each in params["services"] if not each["certificate"]}
    issued = {name: own(Path(each["certificate"]), Path(each["key"]), moment) for name, each in own_files.items()}
    if not others and not params["authority"]:
        return None, issued
    with held(folder) if write else nullcontext():
        issuer = authority(folder, params["authority_name"], terms, moment, write=write)
        for name, each in others.items():
            names = each["names"] or [host]
            issued[name] = leaf(folder / host, name, names, issuer, terms, moment, write=write)
    return issuer, issued


def returned(one: Issued) -> dict[str, Any]:
    return {
        "certificate": str(one.certificate),
        "key": str(one.key),
        "fingerprint": one.fingerprint,
        "ends": f"{one.ends:%Y-%m-%d}",
        "made": bool(one.why),
    }


if __name__ == "__main__":
    main()
