"""`orthanc destinations` and its kin: who images can be sent to. Changes take effect at once, without a restart."""

from __future__ import annotations

import click

from pacsops.cli import echo as echoes
from pacsops.cli.completion import destination_names
from pacsops.cli.parameters import confirm, json_option, yes_option
from pacsops.cli.render import Page, count, deliveries, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import GATEWAY, Beat
from pacsops.delivery.model import DestinationHealth
from pacsops.doctor.destination_state import DestinationState, address, configuration, destination_states
from pacsops.doctor.gateway_destinations import echo_as_gateway, gateway_destinations, gateway_pools
from pacsops.doctor.rules import Rules, rules_in_force
from pacsops.errors import (
    DatabaseUnreachable,
    DestinationInUse,
    NothingToDo,
    SchemaMismatch,
    UnknownDestination,
)
from pacsops.orthanc import (
    Echo,
    Modality,
    all_modalities,
    echo,
    remove,
)
from pacsops.routes import RoutesInvalid


@click.command("destinations")
@json_option
@click.pass_context
@pass_site
def list_destinations(site: Site, ctx: click.Context, as_json: bool) -> None:
    """List configured DICOM destinations.

    \b
    Examples:
      orthanc destinations
      orthanc destinations --json

    Exit code: 0, or 1 when how deliveries went, or which routes use them, could not be asked.
    """
    modalities = all_modalities(site.orthanc)
    health, rules = _known_health(site), _known_rules(site)
    beat = _gateways_beat(site)
    states = destination_states(modalities, health, rules, gateway_destinations(beat), gateway_pools(beat))
    if as_json:
        write_json({"destinations": [state.as_dict() for state in states]})
    elif states:
        _print_destinations(Page(), states)
    else:
        Page().line("There is no destination yet. Add one with: orthanc add-destination", indent=0)
    ctx.exit(1 if health is None or rules is None else 0)


def _print_destinations(page: Page, states: list[DestinationState]) -> None:
    page.title("📋", f"DESTINATIONS ({len(states)})")
    page.blank()
    page.records(
        ("NAME", "STATE", "LAST OK", "OPEN", "AE TITLE @ ADDRESS, ROUTES"),
        [
            (
                state.name,
                state.shown,
                state.last_success,
                state.owed or "–",
                (address(state.modality) if state.modality else "Orthanc does not know it")
                + (", from the gateway" if state.senders == ("gateway",) else "")
                + (f", {count(len(state.routes), 'route')}: {', '.join(state.routes)}" if state.routes else ""),
            )
            for state in states
        ],
        whole=("NAME", "STATE", "LAST OK"),
    )
    page.blank()
    page.rule()
    page.actions(
        [
            (f"orthanc test-destination {states[0].name}", "C-ECHO it now"),
            ("orthanc add-destination", "Add another (guided)"),
        ]
    )


@click.command("test-destination")
@click.argument("name", shell_complete=destination_names)
@json_option
@click.pass_context
@pass_site
def test_destination(site: Site, ctx: click.Context, name: str, as_json: bool) -> None:
    """Test connectivity to a destination.

    \b
    Examples:
      orthanc test-destination MODLINK
      orthanc test-destination MODLINK --json

    Orthanc sends a C-ECHO, from the host and with the AE title that images come from; to a destination that only
    the gateway has, the gateway's host does. Exit code: 0 answered, 1 answered slowly (more than 1 s), 2 did not
    answer.
    """
    gateways = gateway_destinations(_gateways_beat(site))
    by_gateway = name in gateways and name not in all_modalities(site.orthanc)
    modality = gateways[name] if by_gateway else _modality(site, name)
    outcome = _echo_as_gateway(site, modality) if by_gateway else echo(site.orthanc, name, timeout=5)
    if as_json:
        write_json(echoes.as_document(outcome, modality, site.settings.orthanc_aet))
    else:
        page = Page()
        page.line(f"{name}: {address(modality)}", indent=0)
        echoes.print_echo(page, outcome, modality, site.settings.orthanc_aet)
    ctx.exit(echoes.verdict(outcome))


@click.command("remove-destination")
@click.argument("name", shell_complete=destination_names)
@click.option("--force", is_flag=True, help="Even if a route or an open delivery uses it.")
@yes_option
@pass_site
def remove_destination(site: Site, name: str, force: bool, yes: bool) -> None:
    """Remove a DICOM destination.

    \b
    Examples:
      orthanc remove-destination OLD_PACS
      orthanc remove-destination OLD_PACS --yes

    Refuses while a route in force or a delivery that is not done uses it.
    """
    modality = _modality(site, name)
    if not force:
        _refuse_if_used(site, name)
    page = Page()
    page.title("🗑", "REMOVE DICOM DESTINATION")
    page.blank()
    page.facts(configuration(modality))
    page.blank()
    if not confirm(f"Remove destination {name}?", yes=yes):
        raise NothingToDo("Nothing was changed.")
    remove(site.orthanc, name)
    page.line(f"Destination '{name}' removed.", "✅", indent=0)


def _gateways_beat(site: Site) -> Beat | None:
    try:
        return GATEWAY.newest(site.db)
    except (DatabaseUnreachable, SchemaMismatch):
        return None


def _echo_as_gateway(site: Site, modality: Modality) -> Echo:
    if not site.settings.gateway_port:
        raise UnknownDestination(
            f"{modality.name} is a destination of the gateway, which runs on another host",
            hint=f"on the gateway's host: `orthanc test-destination {modality.name}`",
        )
    return echo_as_gateway(site.settings, modality)


def _modality(site: Site, name: str) -> Modality:
    modalities = all_modalities(site.orthanc)
    if name not in modalities and name in gateway_destinations(_gateways_beat(site)):
        raise UnknownDestination(
            f"{name} is a destination of the gateway, not of Orthanc",
            hint="it is in gateway_destinations of the inventory: change it there, then deploy",
        )
    if name not in modalities:
        raise UnknownDestination(
            f"Orthanc has no destination {name}",
            hint=f"it has {', '.join(sorted(modalities)) or 'none'}; `orthanc add-destination` adds one",
        )
    return modalities[name]


def _refuse_if_used(site: Site, name: str) -> None:
    """
    Raises:
        DestinationInUse: a route in force or an open delivery uses it, or that cannot be found out.
    """
    try:
        routes = rules_in_force(site).naming(name)
        waiting = desk.open_deliveries(site.db, name)
    except (DatabaseUnreachable, SchemaMismatch, RoutesInvalid) as error:
        raise DestinationInUse(
            f"whether {name} is in use cannot be found out: {error}", hint="--force removes it all the same"
        ) from error
    reasons = [f"route {route!r} sends to it" for route in routes]
    if waiting:
        reasons.append(f"{deliveries(waiting)} {'is' if waiting == 1 else 'are'} not done")
    if reasons:
        raise DestinationInUse(
            f"{name} is in use: {'; '.join(reasons)}.",
            hint=" and ".join(
                [
                    *(["take it out of routes.yml"] if routes else []),
                    *([f"see `orthanc show-pending --destination {name}`"] if waiting else []),
                ]
            )
            + ", or say --force",
        )


def _known_health(site: Site) -> dict[str, DestinationHealth] | None:
    try:
        return desk.destination_health(site.db)
    except (DatabaseUnreachable, SchemaMismatch) as error:
        warn(f"{error}. How deliveries went is not known.", error.hint)
        return None


def _known_rules(site: Site) -> Rules | None:
    try:
        return rules_in_force(site)
    except RoutesInvalid as error:
        warn(f"Which routes use them is not known: {str(error).splitlines()[0]}", error.hint)
        return None
