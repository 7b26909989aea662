#!/usr/bin/python
"""Retry, skip or cancel deliveries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: routing_delivery
short_description: Retry, skip or cancel deliveries
description:
  - Gives the router an order about the deliveries that a filter names. The order changes their state in PostgreSQL;
    the router does the rest within a second.
  - Needs the pacsops package in the Python it runs with, and a way to the site's PostgreSQL.
options:
  state:
    description:
      - V(retried) sends failed and stuck deliveries again, from their first attempt.
      - V(skipped) and V(cancelled) take back those that are not done.
    type: str
    choices: [retried, skipped, cancelled]
    required: true
  study:
    description: Only of this study, by Orthanc id, StudyInstanceUID or accession number.
    type: str
  destination:
    description: Only those to this destination.
    type: str
  route:
    description: Only those this route decided.
    type: str
  deliveries:
    description: Only these, by number.
    type: list
    elements: int
  reason:
    description: Why; kept in the study's history. Required to skip and to cancel.
    type: str
  force:
    description: With O(state=retried), also those that were skipped, cancelled or delivered.
    type: bool
    default: false
  env_file:
    description: The site's settings, C(/opt/orthanc/.env) by default. E(ORTHANC_ENV) names another one.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the deliveries that would change, and changes none.
  diff_mode:
    support: full
    description: The status of each delivery before and after.
  idempotent:
    support: full
    description: What is not failed or stuck any more is not retried again, unless O(force).
author:
  - pacsops
"""

EXAMPLES = r"""
- name: MODLINK is back; what got stuck there goes out again
  routing_delivery:
    state: retried
    destination: MODLINK

- name: One study is not wanted any more
  routing_delivery:
    state: cancelled
    study: ACC12345
    reason: sent by courier
"""

RETURN = r"""
deliveries:
  description: The deliveries that changed, or would in check mode, as they were before.
  returned: success
  type: list
  elements: dict
  sample: [{id: 4711, study_id: 0af4..., route: ai_sr_to_modlink, destination: MODLINK, status: stuck}]
"""

import getpass
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pacsops_module import SITE_ARGUMENTS, readable_errors, require_pacsops, settings_of

STATUS = {"retried": "pending", "skipped": "skipped", "cancelled": "cancelled"}
"""What an order makes of a delivery."""
RETURNED = ("id", "study_id", "study_uid", "level", "resource_id", "route", "destination", "status", "last_error")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SITE_ARGUMENTS,
            "state": {"type": "str", "choices": list(STATUS), "required": True},
            "study": {"type": "str"},
            "destination": {"type": "str"},
            "route": {"type": "str"},
            "deliveries": {"type": "list", "elements": "int"},
            "reason": {"type": "str"},
            "force": {"type": "bool", "default": False},
        },
        required_if=[("state", "skipped", ("reason",)), ("state", "cancelled", ("reason",))],
        # An order about everything there is would be a slip of the pen.
        required_one_of=[("study", "destination", "route", "deliveries")],
        supports_check_mode=True,
    )
    require_pacsops(module)
    with readable_errors(module):
        found = give_order(module.params, dry_run=module.check_mode)
    after = STATUS[module.params["state"]]
    module.exit_json(
        changed=bool(found),
        deliveries=found,
        diff={
            "before": "".join(f"{described(delivery)}: {delivery['status']}\n" for delivery in found),
            "after": "".join(f"{described(delivery)}: {after}\n" for delivery in found),
        },
    )


def give_order(params: Mapping[str, Any], *, dry_run: bool) -> list[dict[str, Any]]:
    """The deliveries it was about, as they were before, without what identifies patients.

    Raises:
        PacsopsError: no such study, no settings, no PostgreSQL.
    """
    from pacsops.database import Database  # noqa: PLC0415 - after require_pacsops
    from pacsops.delivery import desk  # noqa: PLC0415
    from pacsops.errors import UnknownDestination  # noqa: PLC0415

    if params["deliveries"] == []:
        return []  # a list that came out empty is no filter that lets everything pass
    database = Database(settings_of(params), application="ansible routing_delivery")
    if params["destination"] and params["destination"] not in desk.destination_health(database):
        raise UnknownDestination(
            f"nothing was ever promised to a destination {params['destination']}", hint="`orthanc destinations`"
        )
    wanted = desk.DeliveryFilter(
        study_ids=tuple(study.study_id for study in desk.find_studies(database, params["study"]))
        if params["study"]
        else (),
        delivery_ids=tuple(params["deliveries"] or ()),
        destination=params["destination"],
        route=params["route"],
    )
    by = f"{getpass.getuser()} (Ansible)"
    match params["state"]:
        case "retried":
            found = desk.retry(database, wanted, by=by, force=params["force"], dry_run=dry_run)
        case "skipped":
            found = desk.skip(database, wanted, reason=params["reason"], by=by, dry_run=dry_run)
        case _:
            found = desk.cancel(database, wanted, reason=params["reason"], by=by, dry_run=dry_run)
    return [{key: getattr(delivery, key) for key in RETURNED} for delivery in found]


def described(delivery: Mapping[str, Any]) -> str:
    """One delivery in a line of the diff."""
    return f"delivery {delivery['id']} of study {delivery['study_id']} to {delivery['destination']}"


if __name__ == "__main__":
    main()
