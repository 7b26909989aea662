#!/usr/bin/python
"""What a changed routes.yml would do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: routes_replay
short_description: What a changed routes.yml would do
description:
  - Asks the routes in force and those of a changed routes.yml about the studies Orthanc holds, and tells which
    deliveries the change adds and takes away.
  - Reads only, and returns nothing that identifies a patient. A file with a mistake in it is a failure that lists
    every problem.
  - Needs the pacsops package in the Python it runs with, and a way to the site's PostgreSQL and Orthanc.
options:
  content:
    description: The text of the changed routes.yml.
    type: str
    required: true
  days:
    description: Studies that changed within so many days are looked at.
    type: float
    default: 7
  env_file:
    description: The site's settings, C(/opt/orthanc/.env) by default. E(ORTHANC_ENV) names another one.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: RV(lines) tells the difference.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: It is known what the new routes change
  routes_replay:
    content: "{{ lookup('ansible.builtin.template', router_routes_source) }}"
  register: replay

- name: Nothing is taken away
  ansible.builtin.assert:
    that: replay.lost == 0
"""

RETURN = r"""
studies:
  description: Studies looked at.
  returned: success
  type: int
  sample: 412
gained:
  description: Deliveries that only the changed file makes.
  returned: success
  type: int
  sample: 12
lost:
  description: Deliveries that only the file in force makes.
  returned: success
  type: int
  sample: 0
routes:
  description: The same for each route and destination.
  returned: success
  type: list
  elements: dict
  sample: [{route: ai_sr_to_modlink, destination: MODLINK, before: 40, after: 52, gained: 12, lost: 0, changed: 0}]
destinations:
  description: What each destination gets more and less of, by whatever route.
  returned: success
  type: list
  elements: dict
  sample: [{destination: MODLINK, studies_gained: 12, studies_lost: 0, images_gained: 12, images_lost: 0}]
lines:
  description: All that in sentences.
  returned: success
  type: list
  elements: str
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import SITE_ARGUMENTS, readable_errors, require_pacsops, settings_of


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SITE_ARGUMENTS,
            "content": {"type": "str", "required": True},
            "days": {"type": "float", "default": 7},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    from pacsops.database import Database  # noqa: PLC0415
    from pacsops.database.migrate import require_current  # noqa: PLC0415
    from pacsops.delivery.versions import routes_in_force  # noqa: PLC0415
    from pacsops.orthanc import Orthanc  # noqa: PLC0415
    from pacsops.router.replay import replay, sentences, table_of  # noqa: PLC0415
    from pacsops.routes import load_routes  # noqa: PLC0415

    with readable_errors(module):
        settings = settings_of(module.params)
        database = Database(settings, application="ansible routes_replay")
        require_current(database)
        after = load_routes(module.params["content"])
        since = datetime.now(UTC) - timedelta(days=module.params["days"])
        found = replay(Orthanc.of(settings), table_of(routes_in_force(database)), after, since)
    difference = found.difference
    module.exit_json(
        changed=False,
        studies=found.studies,
        gained=len(difference.gained),
        lost=len(difference.lost),
        routes=[
            {"route": route, "destination": destination, **asdict(numbers)}
            for (route, destination), numbers in difference.routes.items()
        ],
        destinations=[{"destination": name, **asdict(sums)} for name, sums in difference.destinations.items()],
        lines=sentences(found),
    )


if __name__ == "__main__":
    main()
