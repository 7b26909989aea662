"""`orthanc inject-fault`, `clear-faults` and `reset-db`: for sites where no patient's images come in."""

from __future__ import annotations

import click

from pacsops.cli.parameters import confirm, json_option, yes_option
from pacsops.cli.render import Page, count, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.errors import NothingToDo, SpoolUnwritable
from pacsops.gateway import drills, faults


@click.command("inject-fault")
@click.argument("fault", type=click.Choice(list(faults.KINDS)), metavar="FAULT")
@click.argument("value", type=float, required=False)
@json_option
@pass_site
def inject_fault(site: Site, fault: str, value: float | None, as_json: bool) -> None:
    """Make the gateway's receivers fail on purpose.

    \b
    Examples:
      orthanc inject-fault reject_all
      orthanc inject-fault io_delay_ms 200
      orthanc inject-fault random_fail_rate 0.3

    \b
    reject_all          every association is rejected
    disk_full           every image is refused with 0xA700, as when the disk is full
    io_delay_ms         the disk waits so many milliseconds before each image; 500 unless said
    random_fail_rate    this share of images is refused with 0xA700; 0.5 unless said

    Receivers heed it within half a second, until `orthanc clear-faults`. Several faults may be in force. Only where
    the inventory says gateway_drills: true.
    """
    faults.require_drills(site.settings.gateway_drills)
    try:
        now = faults.inject(site.settings.gateway_spool, fault, value)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if as_json:
        write_json({"faults": now.as_dict()})
        return
    page = Page()
    page.line(f"In force now: {now}", "⚠", indent=0)
    page.line("End with: orthanc clear-faults", indent=0)


@click.command("clear-faults")
@json_option
@pass_site
def clear_faults(site: Site, as_json: bool) -> None:
    """End every fault that was injected.

    \b
    Examples:
      orthanc clear-faults
      orthanc clear-faults --json

    Receivers are as before within half a second; senders send again what was refused.
    """
    faults.require_drills(site.settings.gateway_drills)
    ended = faults.clear(site.settings.gateway_spool)
    if as_json:
        write_json({"ended": ended.as_dict()})
    if not ended:
        raise NothingToDo("Nothing to do: no fault is in force.")
    if not as_json:
        Page().line(f"Ended: {ended}", "✅", indent=0)


@click.command("reset-db")
@yes_option
@json_option
@pass_site
def reset_db(site: Site, yes: bool, as_json: bool) -> None:
    """Remove all that the gateway received, and begin anew.

    \b
    Examples:
      orthanc reset-db
      orthanc reset-db --yes --json

    Removes the gateway's studies, images and deliveries from PostgreSQL, its files from the spool, and begins the
    numbers of simulated studies anew. What Orthanc holds and the router delivered stays, and so do the routes. Only
    where the inventory says gateway_drills: true. Let nobody send meanwhile.
    """
    faults.require_drills(site.settings.gateway_drills)
    spool = site.settings.gateway_spool
    there = drills.holdings(site.db, spool)
    if there and not yes:
        warn(
            f"{count(there.studies, 'study', 'studies')} with {count(there.images, 'image')},"
            f" {count(there.deliveries, 'delivery', 'deliveries')} and {count(there.files, 'file')} below {spool}"
            " will be removed for good."
        )
        if not confirm("Remove them?", yes=False):
            raise NothingToDo("Nothing was changed.")
    try:
        removed = drills.reset(site.db, spool)
    except OSError as error:
        raise SpoolUnwritable(
            f"cannot empty {spool}: {error.strerror}; the database is as it was",
            hint="run it on the gateway's host, as root or as the gateway's account",
        ) from error
    if as_json:
        write_json({"removed": {name: getattr(removed, name) for name in drills.Holdings.__slots__}})
        return
    Page().line(
        f"Removed: {count(removed.studies, 'study', 'studies')}, {count(removed.images, 'image')},"
        f" {count(removed.deliveries, 'delivery', 'deliveries')}, {count(removed.files, 'file')}",
        "✅",
        indent=0,
    )
