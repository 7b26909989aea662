"""`orthanc add-destination`: one destination, asked for step by step, tested before it is added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from pacsops.cli import echo as echoes
from pacsops.cli.parameters import confirm, someone_is_there, yes_option
from pacsops.cli.render import Page, warn
from pacsops.cli.site import Site, pass_site
from pacsops.delivery import desk
from pacsops.doctor.destination_state import RIGHTS, address, configuration
from pacsops.errors import DestinationSilent, InvalidDestination, NothingToDo
from pacsops.orthanc import (
    Modality,
    all_modalities,
    check_aet,
    check_host,
    check_name,
    check_port,
    echo_unregistered,
    ensure,
)

_METHODS = {"none": "nothing: its word is taken", "find": "C-FIND", "storage_commitment": "storage commitment"}


@click.command("add-destination")
@click.option("--name", help="What routes.yml calls it: letters, digits, - and _.")
@click.option("--aet", help="Its AE title, the DICOM name it answers to; upper and lower case count.")
@click.option("--host", help="Host name or IP address.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port; 104 is customary.")
@click.option(
    "--allow",
    type=click.Choice(RIGHTS),
    multiple=True,
    help="What it may ask of Orthanc besides C-ECHO; may be given several times. One that sends results back needs"
    " `--allow store`.",
)
@click.option("--concurrency", type=click.IntRange(1, 64), help="Deliveries on their way to it at once [default: 2].")
@click.option("--tls/--no-tls", default=None, help="Speak DICOM over TLS to it [default: in the clear].")
@click.option(
    "--verify",
    type=click.Choice([method.value for method in desk.Method]),
    help="How it is asked, after each delivery, whether it has the images: by C-FIND, by storage commitment, or not"
    " [default: as before, or none].",
)
@click.option(
    "--transport",
    type=click.Choice(["orthanc", "direct"]),
    help="Who sends to it: Orthanc by its own jobs, or the router itself, which goes on where it was when it is"
    " interrupted; over TLS where it has a certificate (ROUTER_CERTIFICATE) [default: as before, or orthanc].",
)
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
    tls: bool | None,
    verify: str | None,
    transport: desk.Transport | None,
    no_test: bool,
    yes: bool,
) -> None:
    """Add a new DICOM destination (guided).

    \b
    Examples:
      orthanc add-destination
      orthanc add-destination --name MODLINK --aet MODLINK --host 10.251.201.59 --port 104 --yes

    Asks for what the options leave open, and again for what DICOM would not take; tests the connection, shows what it
    is about to do, and asks. A destination of the same name is changed: what is not said stays as it is.

    Exit code: 0 added, or there already; 1 nothing was changed; 2 it does not answer, or a value is none.
    """
    _check_given(name, aet, host)
    given = {"--name": name, "--aet": aet, "--host": host, "--port": port}
    missing = [option for option, value in given.items() if value is None]
    if missing and not someone_is_there():
        raise click.UsageError(f"Say {', '.join(missing)}: nobody can be asked here.")
    page = Page()
    page.title("🏥", "ADD DICOM DESTINATION")
    page.blank()
    known = all_modalities(site.orthanc)
    name = name or _ask("Enter a name for this destination (used in routing rules)", check_name)
    before = known.get(name)
    if before is not None:
        page.line(f"{name} is known: {address(before)}. Answers change it; Enter leaves a value as it is.", indent=0)
        page.blank()
    aet = aet or _ask(
        "Enter the AE Title (the destination's DICOM name)", check_aet, default=before.aet if before else None
    )
    host = host or _ask("Enter the IP address or hostname", check_host, default=before.host if before else None)
    port = port or int(_ask("Enter the port", _check_port, default=str(before.port) if before else "104"))
    wanted = _wanted(before, Modality(name=name, aet=aet, host=host, port=port), allow, tls)
    change = ensure(site.orthanc, wanted, apply=False)
    if not no_test:
        _test_first(site, page, wanted, yes=yes)
        page.blank()
    page.line("Configuration to add:" if change.before is None else f"{wanted.name} exists; it becomes:", indent=0)
    further = [("Verified by", _METHODS[verify])] if verify else []
    further += [("Sent by", "the router itself" if transport == "direct" else "Orthanc")] if transport else []
    page.facts([*configuration(wanted, concurrency), *further])
    page.blank()
    if change.changed and not confirm(
        "Add this destination?" if change.before is None else "Change this destination?", yes=yes, default=True
    ):
        raise NothingToDo("Nothing was changed.")
    if concurrency is not None:  # first: images may flow as soon as Orthanc knows it
        desk.set_concurrency(site.db, wanted.name, concurrency)
    if verify is not None:
        desk.set_verification(site.db, wanted.name, desk.Method(verify))
    if transport is not None:
        desk.set_transport(site.db, wanted.name, transport)
    ensure(site.orthanc, wanted)
    done = "added" if change.before is None else "changed" if change.changed else "was there already"
    page.line(f"Destination '{wanted.name}' {done}{' successfully!' if change.changed else '.'}", "✅", indent=0)
    page.blank()
    page.line(f"You can now use '{wanted.name}' in routes.yml or with 'orthanc send'.", indent=0)
    page.line("No restart required - destination is immediately available.", indent=0)


def _check_given(name: str | None, aet: str | None, host: str | None) -> None:
    """
    Raises:
        InvalidDestination: before anything is asked.
    """
    for value, check in ((name, check_name), (aet, check_aet), (host, check_host)):
        if value is not None:
            check(value)


def _check_port(answer: str) -> None:
    check_port(int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 10 else 0)


def _ask(question: str, check: Callable[[str], None], *, default: str | None = None) -> str:
    """An answer that `check` takes; asked again until there is one."""
    click.echo(f"{question} [default: {default}]:" if default else f"{question}:", err=True)
    while True:
        answer = click.prompt(">", default=default, type=str, prompt_suffix=" ", show_default=False, err=True)
        try:
            check(answer.strip())
        except InvalidDestination as error:
            warn(f"{error}: {error.hint}.")
        else:
            return str(answer).strip()


def _wanted(before: Modality | None, said: Modality, allow: tuple[str, ...], tls: bool | None) -> Modality:
    """What was said, and of what was not, what holds already."""
    wanted = replace(before, aet=said.aet, host=said.host, port=said.port) if before else said
    if tls is not None:
        wanted = replace(wanted, use_dicom_tls=tls)
    if not allow:
        return wanted
    return replace(
        wanted,
        allow_store="store" in allow,
        allow_find="find" in allow,
        allow_move="move" in allow,
        allow_get="get" in allow,
    )


def _test_first(site: Site, page: Page, wanted: Modality, *, yes: bool) -> None:
    """C-ECHO it before it is added; when it does not answer, only a person says to go on.

    Raises:
        NothingToDo: the person says no.
        DestinationSilent: it does not answer, and nobody is asked.
    """
    page.line(f"Testing connection to {address(wanted)}...", indent=0)
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
