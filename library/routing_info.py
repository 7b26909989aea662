#!/usr/bin/python
"""How routing is doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: routing_info
short_description: How routing is doing
description:
  - Reads from PostgreSQL what was routed lately, what waits, what is stuck, what is late, how the destinations
    do, and which routes are in force. Nothing that identifies a patient.
  - Needs the pacsops package in the Python it runs with, and a way to the site's PostgreSQL.
options:
  since_hours:
    description: Hours that counts look back.
    type: float
    default: 24
  limit:
    description: Deliveries to list of those that wait, and of those that are stuck.
    type: int
    default: 100
  env_file:
    description: The site's settings, C(/opt/orthanc/.env) by default. E(ORTHANC_ENV) names another one.
    type: path
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
- name: Routing is looked at
  routing_info:
  register: routing

- name: Nothing is stuck
  ansible.builtin.assert:
    that: routing.counts.stuck == 0
"""

RETURN = r"""
counts:
  description: Studies received, matched and completed since; deliveries pending and stuck now.
  returned: success
  type: dict
  sample: {received: 47, matched: 45, completed: 43, failed: 2, pending: 2, stuck: 0, oldest_pending_seconds: 12.5}
pending:
  description: Deliveries on their way or waiting, the oldest first.
  returned: success
  type: list
  elements: dict
stuck:
  description: Deliveries that need somebody.
  returned: success
  type: list
  elements: dict
  sample: [{id: 4711, destination: MODLINK, last_error: connection refused}]
destinations:
  description: Destination to its health.
  returned: success
  type: dict
  sample: {MODLINK: {breaker: open, waiting: 2, stuck: 0, last_error: connection refused}}
routes:
  description: What came of each route.
  returned: success
  type: dict
  sample: {ai_sr_to_modlink: {matched: 12, success: 11, waiting: 1, stuck: 0}}
overdue:
  description: What a route wanted done by now and is not, by route and destination.
  returned: success
  type: list
  elements: dict
  sample: [{route: stat, destination: PACS, deliveries: 2, studies: 2, stuck: 0, late_seconds: 1260.0}]
unverified:
  description: Destinations that could not be asked whether they have what they took.
  returned: success
  type: list
  elements: dict
  sample: [{destination: ARCHIVE, deliveries: 3, reason: "it does not offer C-FIND for single images"}]
routes_in_force:
  description: The SHA-256 of the routes.yml in force and since when; null before the first.
  returned: success
  type: dict
  sample: {hash: 199272ab..., since: "2026-02-03T10:15:00+00:00"}
routes_rejected:
  description: What is wrong with a newer routes.yml that the router did not take; empty when it took the newest.
  returned: success
  type: list
  elements: str
router:
  description: The router's sign of life; null when there never was one.
  returned: success
  type: dict
  sample: {instance: "host:4711", alive: true, beat_at: "2026-02-03T10:15:00+00:00"}
findings:
  description: What somebody should look at, in sentences.
  returned: success
  type: list
  elements: str
  sample: ["2 deliveries are stuck: `orthanc failures` says why"]
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import SITE_ARGUMENTS, readable_errors, require_pacsops, settings_of

PATIENT = {"patient_name", "patient_id", "study_description", "study_date"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SITE_ARGUMENTS,
            "since_hours": {"type": "float", "default": 24},
            "limit": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    require_pacsops(module)
    with readable_errors(module):
        found = look(module.params)
    module.exit_json(changed=False, **found, findings=findings(found))


def look(params: Mapping[str, Any]) -> dict[str, Any]:
    """Everything under RETURN.

    Raises:
        PacsopsError: no settings, no PostgreSQL, or a schema of another version.
    """
    from pacsops.database import Database  # noqa: PLC0415 - after require_pacsops
    from pacsops.database.migrate import require_current  # noqa: PLC0415
    from pacsops.delivery import desk  # noqa: PLC0415
    from pacsops.delivery.heartbeat import ROUTER  # noqa: PLC0415
    from pacsops.delivery.model import WAITING, Status  # noqa: PLC0415

    database = Database(settings_of(params), application="ansible routing_info")
    require_current(database)
    since = datetime.now(UTC) - timedelta(hours=params["since_hours"])
    limit = params["limit"]
    in_force, newest, beat = (read(database) for read in (desk.routes_in_force, desk.newest_routes, ROUTER.newest))
    return {
        "counts": plain(asdict(desk.counts(database, since))),
        "pending": [plain(each.as_dict()) for each in desk.deliveries(database, statuses=WAITING, limit=limit)],
        "stuck": [plain(each.as_dict()) for each in desk.deliveries(database, statuses={Status.STUCK}, limit=limit)],
        "destinations": {name: plain(asdict(health)) for name, health in desk.destination_health(database).items()},
        "routes": {name: plain(counts) for name, counts in desk.route_counts(database, since).items()},
        "overdue": [plain(asdict(level)) for level in desk.overdue(database)],
        "unverified": [plain(asdict(group)) for group in desk.unverified(database)],
        "routes_in_force": in_force and {"hash": in_force.hash, "since": in_force.loaded_at.isoformat()},
        "routes_rejected": [str(problem.get("message", problem)) for problem in newest.problems]
        if newest and not newest.accepted
        else [],
        "router": beat and plain(asdict(beat)),
    }


def findings(found: Mapping[str, Any]) -> list[str]:
    """What somebody should look at, in sentences with the command to run next."""
    router, stuck = found["router"], found["counts"]["stuck"]
    return [
        *(["no router has run here yet"] if router is None else []),
        *([f"the router's last sign of life is of {router['beat_at']}"] if router and not router["alive"] else []),
        *([f"{_deliveries(stuck)} stuck: `orthanc failures` says why"] if stuck else []),
        *(
            f"{_deliveries(level['deliveries'])} overdue by route {level['route']} to {level['destination']}:"
            " `orthanc show-pending --overdue`"
            for level in found["overdue"]
        ),
        *(
            f"{_deliveries(group['deliveries'])} not verified at {group['destination']}: {group['reason']}"
            for group in found["unverified"]
        ),
        *(f"the newest routes.yml is not in force: {problem}" for problem in found["routes_rejected"]),
        *(
            f"{name} is down, {_deliveries(health['waiting'])} waiting for it: `orthanc test-destination {name}`"
            for name, health in found["destinations"].items()
            if health["breaker"] == "open"
        ),
    ]


def _deliveries(number: int) -> str:
    return "1 delivery is" if number == 1 else f"{number or 'no'} deliveries are"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it (times in ISO 8601), without what identifies patients."""
    return {
        key: value.isoformat() if isinstance(value, date) else value
        for key, value in values.items()
        if key not in PATIENT
    }


if __name__ == "__main__":
    main()
