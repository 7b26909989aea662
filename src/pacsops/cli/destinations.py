"""`orthanc destinations` and its kin: who images can be sent to. Changes take effect at once, without a restart."""

from __future__ import annotations

from dataclasses import asdict

import click

from pacsops.cli import echo as echoes
from pacsops.cli.parameters import confirm, json_option, someone_is_there, yes_option
from pacsops.cli.render import Page, count, deliveries, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.delivery.model import DestinationHealth
from pacsops.doctor.destination_state import DestinationState, destination_states
from pacsops.doctor.rules import Rules, rules_in_force
from pacsops.errors import (
    DatabaseUnreachable,
    DestinationInUse,
    DestinationSilent,
    NothingToDo,
    SchemaMismatch,
    UnknownDestination,
)
from pacsops.orthanc import Modality, all_modalities, echo, echo_unregistered, ensure, remove
from pacsops.routes import RoutesInvalid

_RIGHTS = ("store", "find", "move", "get")


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
    states = destination_states(modalities, health, rules)
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
                (_address(state.modality) if state.modality else "Orthanc does not know it")
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
@click.argument("name")
@json_option
@click.pass_context
@pass_site
def test_destination(site: Site, ctx: click.Context, name: str, as_json: bool) -> None:
    """Test connectivity to a destination.

    \b
    Examples:
      orthanc test-destination MODLINK
      orthanc test-destination MODLINK --json

    Orthanc sends a C-ECHO, from the host and with the AE title that images come from. Exit code: 0 answered,
    1 answered slowly (more than 1 s), 2 did not answer.
    """
    modality = _modality(site, name)
    outcome = echo(site.orthanc, name, timeout=5)
    if as_json:
        write_json(echoes.as_document(outcome, modality, site.settings.orthanc_aet))
    else:
        page = Page()
        page.line(f"{name}: {_address(modality)}", indent=0)
        echoes.print_echo(page, outcome, modality, site.settings.orthanc_aet)
    ctx.exit(echoes.verdict(outcome))


@click.command("add-destination")
@click.option("--name", help="What routes.yml calls it: letters, digits, - and _.")
@click.option("--aet", help="Its AE title, the DICOM name it answers to; upper and lower case count.")
@click.option("--host", help="Host name or IP address.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port; 104 is customary.")
@click.option(
    "--allow",
    type=click.Choice(_RIGHTS),
    multiple=True,
    help="What it may ask of Orthanc besides C-ECHO; may be given several times. One that sends results back needs"
    " `--allow store`.",
)
@click.option("--concurrency", type=click.IntRange(1, 64), help="Deliveries on their way to it at once [default: 2].")
@click.option("--no-test", is_flag=True, help="Do not C-ECHO it first.")
@yes_option
@pass_site
def add_destination(  # noqa: PLR0913 (one parameter an option)
    site: Site,
    *,
    name: str | None,
    aet: str | None,
    host: str | None,
    port: int | None,
    allow: tuple[str, ...],
    concurrency: int | None,
    no_test: bool,
    yes: bool,
) -> None:
    """Add a new DICOM destination (guided).

    \b
    Examples:
      orthanc add-destination
      orthanc add-destination --name MODLINK --aet MODLINK --host 10.251.201.59 --port 104 --yes

    Asks for what the options leave open. A destination of the same name is changed.
    """
    given = {"--name": name, "--aet": aet, "--host": host, "--port": port}
    missing = [option for option, value in given.items() if value is None]
    if missing and not someone_is_there():
        raise click.UsageError(f"Say {', '.join(missing)}: nobody can be asked here.")
    page = Page()
    page.title("🏥", "ADD DICOM DESTINATION")
    page.blank()
    wanted = Modality(
        name=name or _ask("Enter a name for this destination (used in routing rules)"),
        aet=aet or _ask("Enter the AE Title (the destination's DICOM name)"),
        host=host or _ask("Enter the IP address or hostname"),
        port=port or int(_ask("Enter the port", default="104", kind=click.IntRange(1, 65535))),
        allow_store="store" in allow,
        allow_find="find" in allow,
        allow_move="move" in allow,
        allow_get="get" in allow,
    )
    change = ensure(site.orthanc, wanted, apply=False)
    if not no_test:
        _test_first(site, page, wanted, yes=yes)
        page.blank()
    page.line("Configuration to add:" if change.before is None else f"{wanted.name} exists; it becomes:", indent=0)
    page.facts(_configuration(wanted, concurrency))
    page.blank()
    if change.changed and not confirm(
        "Add this destination?" if change.before is None else "Change this destination?", yes=yes, default=True
    ):
        raise NothingToDo("Nothing was changed.")
    if concurrency is not None:  # first: images may flow as soon as Orthanc knows it
        desk.set_concurrency(site.db, wanted.name, concurrency)
    ensure(site.orthanc, wanted)
    done = "added" if change.before is None else "changed" if change.changed else "was there already"
    page.line(f"Destination '{wanted.name}' {done}{' successfully!' if change.changed else '.'}", "✅", indent=0)
    page.blank()
    page.line(f"You can now use '{wanted.name}' in routes.yml.", indent=0)
    page.line("No restart required - destination is immediately available.", indent=0)


@click.command("remove-destination")
@click.argument("name")
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
    page.facts(_configuration(modality, None))
    page.blank()
    if not confirm(f"Remove destination {name}?", yes=yes):
        raise NothingToDo("Nothing was changed.")
    remove(site.orthanc, name)
    page.line(f"Destination '{name}' removed.", "✅", indent=0)


def _ask(question: str, *, default: str | None = None, kind: click.IntRange | None = None) -> str:
    wants = f"{question} [default: {default}]:" if default else f"{question}:"
    click.echo(wants, err=True)
    answer = click.prompt(">", default=default, type=kind or str, prompt_suffix=" ", show_default=False, err=True)
    return str(answer).strip()


def _test_first(site: Site, page: Page, wanted: Modality, *, yes: bool) -> None:
    """C-ECHO it before it is added; when it does not answer, only a person says to go on.

    Raises:
        NothingToDo: the person says no.
        DestinationSilent: it does not answer, and nobody is asked.
    """
    page.line(f"Testing connection to {_address(wanted)}...", indent=0)
    outcome = echo_unregistered(site.orthanc, wanted, timeout=5)
    echoes.print_echo(page, outcome, wanted, site.settings.orthanc_aet)
    if outcome.ok:
        return
    if yes or not someone_is_there():
        raise DestinationSilent(
            f"{wanted.name} does not answer C-ECHO, nothing was changed", hint="--no-test adds it all the same"
        )
    if not click.confirm("Add it all the same?", default=False, err=True):
        raise NothingToDo("Nothing was changed.")


def _address(modality: Modality) -> str:
    return f"{modality.aet} @ {modality.host}:{modality.port}"


def _configuration(modality: Modality, concurrency: int | None) -> list[tuple[str, str]]:
    values = asdict(modality)
    rights = ", ".join(right for right in ("echo", *_RIGHTS) if values[f"allow_{right}"])
    rows = [
        ("Name", modality.name),
        ("AE Title", modality.aet),
        ("Host", modality.host),
        ("Port", str(modality.port)),
        ("May ask for", rights or "nothing"),
    ]
    return [*rows, ("At once", deliveries(concurrency))] if concurrency else rows


def _modality(site: Site, name: str) -> Modality:
    modalities = all_modalities(site.orthanc)
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
