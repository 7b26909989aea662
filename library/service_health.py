#!/usr/bin/python
"""Wait until services are healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_health
short_description: Wait until services are healthy
description:
  - Asks services, side by side, whether they serve, until all do or the time is up. Changes nothing.
options:
  services:
    description: The services, each with one way of asking it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      container:
        description: Asked by Docker, from inside, in this container. Either this or O(services[].health).
        type: str
      health:
        description: How it is asked. One of O(services[].health.command), C(url), C(port).
        type: dict
        suboptions:
          command:
            description: Healthy when this ends with 0.
            type: list
            elements: str
          url:
            description: Healthy when this answers 2xx.
            type: str
          username:
            description: For O(services[].health.url).
            type: str
          password:
            description: For O(services[].health.url).
            type: str
          port:
            description: Healthy when this TCP port accepts a connection.
            type: int
          host:
            description: For O(services[].health.port).
            type: str
            default: 127.0.0.1
  timeout:
    description: Seconds all of them together have.
    type: int
    default: 60
  fail_on_unhealthy:
    description: Fail when one is not healthy in time.
    type: bool
    default: true
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
- name: Orthanc and its database serve
  service_health:
    services:
      - name: postgres
        health: {command: [pg_isready, -q, -h, 127.0.0.1]}
      - name: orthanc
        health: {url: "http://127.0.0.1:8042/changes?last", username: admin, password: "{{ orthanc_password }}"}
    timeout: 30
"""

RETURN = r"""
services:
  description: Service name to what is wrong with it, null when healthy.
  returned: always
  type: dict
  sample: {postgres: null, orthanc: "http://127.0.0.1:8042/changes?last answers HTTP 401"}
findings:
  description: The same as sentences, of the unhealthy only.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.service_health import await_healthy

WAYS = ["command", "url", "port"]
HEALTH = {
    "command": {"type": "list", "elements": "str"},
    "url": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "port": {"type": "int"},
    "host": {"type": "str", "default": "127.0.0.1"},
}
SERVICE = {
    "name": {"type": "str", "required": True},
    "container": {"type": "str"},
    "health": {
        "type": "dict",
        "options": HEALTH,
        "mutually_exclusive": [WAYS],
        "required_one_of": [WAYS],
    },
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "services": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": SERVICE,
                "mutually_exclusive": [["container", "health"]],
                "required_one_of": [["container", "health"]],
            },
            "timeout": {"type": "int", "default": 60},
            "fail_on_unhealthy": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    services = {
        service["name"]: service["health"] or {"container": service["container"]}
        for service in module.params["services"]
    }
    found = await_healthy(services, module.params["timeout"])
    findings = [f"{name}: {trouble}" for name, trouble in found.items() if trouble]
    if findings and module.params["fail_on_unhealthy"]:
        module.fail_json(msg="Not healthy: " + "; ".join(findings), services=found, findings=findings)
    module.exit_json(changed=False, services=found, findings=findings)


if __name__ == "__main__":
    main()
