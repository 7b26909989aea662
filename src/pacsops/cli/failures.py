"""`orthanc failures`: what failed, grouped by what is wrong, each group with its cause, its fix and one retry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from pydicom.uid import UID

from pacsops.cli.parameters import destination_option, json_option
from pacsops.cli.render import Page, ago, count, deliveries, studies, to_type, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.delivery.failures import FailureGroup


@click.command("failures")
@destination_option
@json_option
@pass_site
def failures(site: Site, destination: str | None, as_json: bool) -> None:
    """Show what failed, by cause, with the fix for each.

    \b
    Examples:
      orthanc failures
      orthanc failures --destination MODLINK --json

    Deliveries that are stuck, or failed and wait for another attempt, in groups of the same destination, kind of
    error, DICOM status, kind of object (SOP class) and encoding (transfer syntax).
    """
    groups = [
        group for group in desk.failure_groups(site.db) if destination is None or group.destination == destination
    ]
    if as_json:
        write_json({"groups": [as_document(group) for group in groups]})
        return
    page = Page()
    if not groups:
        page.line(f"Nothing has failed{f' to {destination}' if destination else ''}.", "✅", indent=0)
        return
    page.title("⚠", f"FAILURES ({count(len(groups), 'kind')})")
    for group in groups:
        _print_group(page, group)
    page.blank()
    page.rule()
    page.actions(
        [
            (_retry(groups[0]), "Send the group again, once mended"),
            (f"orthanc history {to_type(groups[0].example)}", "One of its studies"),
            ("orthanc show-stuck", "Each delivery that is stuck"),
        ]
    )


def as_document(group: FailureGroup) -> dict[str, Any]:
    """One group as --json prints it."""
    return {
        "id": group.id,
        **asdict(group),
        "waiting": group.waiting,
        "sop_class_name": _name(group.sop_class),
        "transfer_syntax_name": _name(group.transfer_syntax),
        "cause": group.remedy.cause,
        "fix": group.remedy.fix,
        "retry": _retry(group),
    }


def _print_group(page: Page, group: FailureGroup) -> None:
    page.section(f"{group.destination}: {group.last_error or group.error_class or 'no reason recorded'}")
    how_many = studies(group.studies)
    if group.deliveries != group.studies:
        how_many += f" ({deliveries(group.deliveries)})"
    parts = [
        f"{group.stuck:,} stuck" if group.stuck else "",
        f"{group.waiting:,} to be retried" if group.waiting else "",
    ]
    how_many += f", {', '.join(part for part in parts if part)}"
    rows = [
        ("Group", group.id),
        ("What", how_many),
        ("Failed", _when(group)),
        ("Kind", " · ".join(part for part in _kinds(group) if part)),
        ("Cause", group.remedy.cause),
        ("Fix", group.remedy.fix),
        ("Then", _retry(group)),
    ]
    page.facts([(label, value) for label, value in rows if value])


def _kinds(group: FailureGroup) -> tuple[str, ...]:
    status = "" if group.dimse_status is None else f"status 0x{group.dimse_status:04X}"
    return (group.error_class or "", status, _name(group.sop_class) or "", _name(group.transfer_syntax) or "")


def _when(group: FailureGroup) -> str:
    if group.oldest_at is None or group.newest_at is None:
        return ""
    oldest, newest = ago(group.oldest_at), ago(group.newest_at)
    return newest if oldest == newest else f"{oldest} to {newest}"


def _retry(group: FailureGroup) -> str:
    return f"orthanc retry --group {group.id}"


def _name(uid: str | None) -> str | None:
    """What PS3.6 annex A calls a UID; the UID itself when it is private."""
    return None if uid is None else UID(uid).name
