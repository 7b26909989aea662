"""`orthanc retry`, `skip` and `cancel`: an operator's orders. Each says first what it is about to change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import click

from pacsops.cli.deliveries import how_many, unheard_of, warn_without_router
from pacsops.cli.parameters import confirm, destination_option, dry_run_option, json_option, yes_option
from pacsops.cli.render import Page, count, deliveries, moment, to_type, warn, write_json
from pacsops.cli.site import Site, operator, pass_site
from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.model import Delivery, Status
from pacsops.errors import AmbiguousStudy, NothingToDo, UnknownStudy

_FAILED = frozenset({Status.PENDING, Status.FAILED, Status.STUCK})
_LISTED = 20  # deliveries announced one by one; more are counted


class Order(Protocol):
    """One of the desk's orders, its operator and options bound."""

    def __call__(self, database: Database, wanted: DeliveryFilter, *, dry_run: bool) -> list[Delivery]: ...


_target = click.argument("target", metavar="STUDY|NUMBER")
_reason = click.option("--reason", required=True, help="Why; `orthanc history` shows it with your name.")


@click.command("retry")
@click.argument("target", metavar="[STUDY|NUMBER]", required=False)
@click.option("--all", "every", is_flag=True, help="Everything failed and stuck.")
@click.option("--group", metavar="GROUP", help="Everything that failed alike, by a group of `orthanc failures`.")
@destination_option
@click.option("--force", is_flag=True, help="Also what waits, was skipped, cancelled, or delivered already.")
@dry_run_option
@yes_option
@json_option
@pass_site
def retry(  # noqa: PLR0913 (one parameter an option)
    site: Site,
    *,
    target: str | None,
    every: bool,
    group: str | None,
    destination: str | None,
    force: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Retry routing for a study.

    \b
    Examples:
      orthanc retry 6b9e19d9-6209
      orthanc retry --all --destination MODLINK

    STUDY is an Orthanc identifier or its first characters, a StudyInstanceUID or an accession number; NUMBER is
    a delivery's, as `orthanc history` shows it. Failed and stuck deliveries get all their attempts again.
    """
    if sum((target is not None, every, group is not None)) != 1:
        raise click.UsageError("Name a study or a delivery's number, or say --all, or --group: one of them.")
    if group is not None and force:
        raise click.UsageError("--group is of what failed: --force has nothing to add.")
    if every and force and destination is None:
        raise click.UsageError("--all --force sends everything ever delivered again: name a --destination too.")
    # What waits in a group is to go at once too: `statuses` keeps force from what has arrived.
    order: Order = partial(desk.retry, by=operator(), force=force or group is not None)
    wanted = _of_group(site.db, group, destination) if group else _wanted(site.db, target, destination)
    changed = _carry_out(
        site.db,
        order,
        wanted,
        "RETRYING ROUTING",
        Status.PENDING,
        ask=target is None and not yes,
        dry_run=dry_run,
        as_json=as_json,
        nothing="no delivery of these is failed or stuck"
        if not force
        else "none of these can be sent again now; what is on its way ends by itself",
    )
    if not dry_run:
        warn_without_router(ROUTER.newest(site.db))
        warn_of_silence(site.db, changed)


@click.command("skip")
@_target
@destination_option
@_reason
@dry_run_option
@json_option
@pass_site
def skip(site: Site, target: str, destination: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Mark a study as skipped (won't retry).

    \b
    Examples:
      orthanc skip 6b9e19d9-6209 --reason "sent by hand"
      orthanc skip 6b9e19d9-6209 --destination MODLINK --reason "duplicate"

    For deliveries that are not needed any more. STUDY and NUMBER are as for `orthanc retry`, and
    `orthanc retry STUDY --force` takes it back. What is on its way at this moment may still arrive.
    """
    _carry_out(
        site.db,
        partial(desk.skip, reason=reason, by=operator()),
        _wanted(site.db, target, destination),
        "SKIPPING DELIVERIES",
        Status.SKIPPED,
        ask=False,
        dry_run=dry_run,
        as_json=as_json,
        nothing="no delivery of these is open",
    )


@click.command("cancel")
@_target
@destination_option
@_reason
@dry_run_option
@json_option
@pass_site
def cancel(site: Site, target: str, destination: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take back a study's deliveries that are not done.

    \b
    Examples:
      orthanc cancel 6b9e19d9-6209 --reason "wrong patient"
      orthanc cancel 4711 --reason "wrong destination"

    For deliveries that should never have been planned. STUDY and NUMBER are as for `orthanc retry`, and
    `orthanc retry STUDY --force` takes it back. What is on its way at this moment may still arrive.
    """
    _carry_out(
        site.db,
        partial(desk.cancel, reason=reason, by=operator()),
        _wanted(site.db, target, destination),
        "CANCELLING DELIVERIES",
        Status.CANCELLED,
        ask=False,
        dry_run=dry_run,
        as_json=as_json,
        nothing="no delivery of these is open",
    )


def _wanted(database: Database, target: str | None, destination: str | None) -> DeliveryFilter:
    """What STUDY|NUMBER and --destination name.

    Raises:
        UnknownStudy: neither a study nor a delivery.
        AmbiguousStudy: accession numbers are often plain numbers; this one is also a delivery's.
    """
    if target is None:
        return DeliveryFilter(destination=destination)
    numbered = _delivery(database, target)
    try:
        studies = desk.find_studies(database, target)
    except UnknownStudy as error:
        if numbered is None:
            raise UnknownStudy(f"no study and no delivery is known by {target!r}", hint=error.hint) from None
        return DeliveryFilter(delivery_ids=(numbered.id,), destination=destination)
    if numbered is not None:
        raise AmbiguousStudy(
            f"{target} names study {studies[0].study_id} and also delivery {numbered.id} of study {numbered.study_id}"
            f" to {numbered.destination}",
            hint="name the study by its Orthanc id, and --destination where only one delivery is meant",
        )
    return DeliveryFilter(study_ids=tuple(study.study_id for study in studies), destination=destination)


def _of_group(database: Database, name: str, destination: str | None) -> DeliveryFilter:
    """The deliveries of a group of `orthanc failures`.

    Raises:
        NothingToDo: nothing fails in this way any more.
    """
    for group in desk.failure_groups(database):
        if group.id == name.strip().lower():
            chosen = group.members(database)
            return DeliveryFilter(delivery_ids=chosen, destination=destination, statuses=_FAILED)
    raise NothingToDo(
        f"Nothing to do: no group of failures is called {name!r} now.", hint="`orthanc failures` lists them"
    )


def _delivery(database: Database, target: str) -> Delivery | None:
    if not (target.isascii() and target.isdigit() and len(target) < 19):
        return None
    return desk.delivery(database, int(target))


def _carry_out(  # noqa: PLR0913
    database: Database,
    order: Order,
    wanted: DeliveryFilter,
    title: str,
    becomes: Status,
    *,
    ask: bool,
    dry_run: bool,
    as_json: bool,
    nothing: str,
) -> list[Delivery]:
    """Announce, ask if need be, and change exactly what was announced.

    Raises:
        NothingToDo: there is nothing the order applies to.
    """
    chosen = order(database, wanted, dry_run=True)
    if not chosen:
        if as_json:
            write_json({"dry_run": dry_run, "count": 0, "deliveries": []})
        raise NothingToDo(f"Nothing to do: {nothing}.", hint=_see(database, wanted))
    if not as_json:
        _announce(Page(), title, chosen)
    again = sum(delivery.status is Status.SUCCESS for delivery in chosen)
    if again:
        warn(f"{count(again, 'delivery was', 'deliveries were')} successful: all images are sent again.")
    if not dry_run:
        if ask and not confirm(f"Retry {deliveries(len(chosen))}?", yes=False):
            raise NothingToDo("Nothing was changed.")
        numbers = tuple(delivery.id for delivery in chosen)
        announced = DeliveryFilter(delivery_ids=numbers, statuses=wanted.statuses)
        chosen = order(database, announced, dry_run=False)
    if as_json:
        rows = [{**delivery.as_dict(), "status_before": delivery.status, "status": becomes} for delivery in chosen]
        write_json({"dry_run": dry_run, "count": len(chosen), "deliveries": rows})
    else:
        _conclude(Page(), chosen, becomes, dry_run=dry_run)
    return chosen


def _announce(page: Page, title: str, chosen: Sequence[Delivery]) -> None:
    page.title("🔄", title)
    page.blank()
    first = chosen[0]
    if len({delivery.study_id for delivery in chosen}) == 1:
        page.facts(
            [
                ("Study", page.study(first.study_id)),
                ("Patient", first.patient_name or "–"),
                ("Description", first.study_description or "–"),
            ],
            indent=0,
        )
        page.blank()
    page.line(f"{how_many(chosen)}:", indent=0)
    for delivery in chosen[:_LISTED]:
        tried = f" ({delivery.attempt_count}x tried)" if delivery.attempt_count else ""
        error = f": {delivery.last_error}" if delivery.last_error and delivery.status is not Status.SUCCESS else ""
        page.line(
            f"{page.study(delivery.study_id)} → {delivery.destination}  {delivery.status.upper()}{tried}{error}"
        )
    if len(chosen) > _LISTED:
        page.line(f"… and {deliveries(len(chosen) - _LISTED)} more")
    page.blank()


def _conclude(page: Page, changed: Sequence[Delivery], becomes: Status, *, dry_run: bool) -> None:
    if dry_run:
        page.line(
            f"Dry run: {deliveries(len(changed))} would become {becomes.upper()}; nothing was changed.", indent=0
        )
        return
    before = sorted({delivery.status.upper() for delivery in changed})
    page.line(f"Routing state updated: {', '.join(before)} → {becomes.upper()}", "✅", indent=0)
    distinct = {delivery.study_id for delivery in changed}
    follow = f"orthanc history {to_type(changed[0].study_id)}" if len(distinct) == 1 else "orthanc show-pending"
    page.line(f"Monitor with: {follow}", indent=0)


def warn_of_silence(database: Database, retried: Sequence[Delivery]) -> None:
    """Say on stderr which of their destinations are down."""
    health = desk.destination_health(database)
    for name in sorted({delivery.destination for delivery in retried}):
        state = health.get(name)
        if state is not None and state.breaker == "open":
            since = f" since {moment(state.opened_at)}" if state.opened_at else ""
            warn(
                f"{name} is down{since}: its deliveries go out as soon as it answers.",
                f"`orthanc test-destination {name}` says why",
            )


def _see(database: Database, wanted: DeliveryFilter) -> str:
    if wanted.destination and (unheard := unheard_of(database, wanted.destination)):
        return unheard
    if wanted.study_ids:
        return f"`orthanc history {to_type(wanted.study_ids[0])}` shows how its deliveries stand"
    return "`orthanc show-stuck` and `orthanc show-pending` show what is open"
