"""`orthanc start`, `stop` and `restart`: the services of this host, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from pacsops.cli.completion import service_names
from pacsops.cli.parameters import confirm, json_option, yes_option
from pacsops.cli.render import Page, count, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.errors import NothingToDo, RuntimeRefused
from pacsops.services import Service, runtime_of
from pacsops.services.orders import Step, is_off
from pacsops.services.orders import start as start_services
from pacsops.services.orders import stop as stop_services

_services = click.argument("names", metavar="[SERVICE]...", nargs=-1, shell_complete=service_names)


@click.command("start")
@_services
@json_option
@click.pass_context
@pass_site
def start(site: Site, ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Start this host's services and wait until they serve.

    \b
    Examples:
      orthanc start
      orthanc start router

    Without a name: all of them. With names: these, and before them what they need. One after the other, each serving
    before the next; what runs already is left alone.

    Exit code: 0 all serve, 2 one does not, or could not be started.
    """
    host = site.host
    page = None if as_json else _begun("▶", "STARTING SERVICES")
    steps = _told(page, start_services(host, runtime_of(host), site.settings, host.named(names)))
    ctx.exit(_concluded(page, "start", steps))


@click.command("stop")
@_services
@yes_option
@json_option
@click.pass_context
@pass_site
def stop(site: Site, ctx: click.Context, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Stop this host's services.

    \b
    Examples:
      orthanc stop router
      orthanc stop --yes

    Without a name: all of them, those first that need others. Says what will not work meanwhile, and asks. They stay
    stopped until `orthanc start`, a deployment or, unless they are containers, a restart of the host.

    Exit code: 0 stopped, 1 nothing was changed, 2 one could not be stopped.
    """
    host = site.host
    runtime = runtime_of(host)
    services = host.named(names)
    states = runtime.states()
    running = [service for service in services if not is_off(states[service.name])]
    page = None if as_json else _begun("■", "STOPPING SERVICES")
    if running:
        _ask(page, "Stop", running, yes=yes)
    steps = _told(page, stop_services(host, runtime, services))
    ctx.exit(_concluded(page, "stop", steps))


@click.command("restart")
@_services
@yes_option
@json_option
@click.pass_context
@pass_site
def restart(site: Site, ctx: click.Context, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Stop this host's services and start them again.

    \b
    Examples:
      orthanc restart orthanc
      orthanc restart --yes

    As `orthanc stop` and then `orthanc start`, with what is running or was named. Deliveries that are on their way
    are taken up again afterwards: nothing is lost, and some images may be sent twice.

    Exit code: 0 all serve again, 1 nothing was changed, 2 one does not serve, or could not be stopped.
    """
    host = site.host
    runtime = runtime_of(host)
    services = host.named(names)
    page = None if as_json else _begun("🔄", "RESTARTING SERVICES")
    _ask(page, "Restart", services, yes=yes)
    try:
        steps = _told(page, stop_services(host, runtime, services))
        steps += _told(page, start_services(host, runtime, site.settings, services))
    except RuntimeRefused as error:
        raise RuntimeRefused(str(error), hint=f"{host.command} start: brings back what was stopped") from error
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted: some may be stopped now. hint: {host.command} start", err=True)
        ctx.exit(130)
    ctx.exit(_concluded(page, "restart", steps))


def _begun(sign: str, title: str) -> Page:
    page = Page()
    page.title(sign, title)
    page.blank()
    return page


def _ask(page: Page | None, verb: str, services: Sequence[Service], *, yes: bool) -> None:
    """
    Raises:
        NothingToDo: the person says no.
    """
    if page is not None:
        page.line(f"{count(len(services), 'service')}: {', '.join(service.title for service in services)}", indent=0)
        for service in services:
            if service.without:
                page.line(f"Without {service.title}: {service.without}", "⚠")
        page.blank()
    if not confirm(f"{verb} {'it' if len(services) == 1 else 'them'}?", yes=yes):
        raise NothingToDo("Nothing was changed.")


def _told(page: Page | None, steps: Iterable[Step]) -> list[Step]:
    """Every step, each told as it is done."""
    done = []
    for step in steps:
        done.append(step)
        if page is not None:
            took = f" ({step.seconds:.1f}s)" if step.changed else ""
            why = f": {step.trouble}" if step.trouble else ""
            sign = "❌" if step.failed else "✅" if step.changed else "–"
            page.line(f"{step.service.title} {step.outcome}{took}{why}", sign)
    return done


def _concluded(page: Page | None, action: str, steps: Sequence[Step]) -> int:
    failed = [step for step in steps if step.failed]
    code = 2 if failed else 0
    if page is None:
        write_json({"action": action, "services": [_as_dict(step) for step in steps], "exit_code": code})
        return code
    page.blank()
    page.rule()
    if failed:
        page.actions(
            [
                (f"orthanc logs --service {step.service.name} --no-follow", f"What {step.service.title} says")
                for step in failed
                if step.outcome == "does not serve"
            ]
        )
    elif action == "stop":
        page.actions([("orthanc start", "Start them again")])
    else:
        page.actions([("orthanc status", "Is anything wrong?")])
    return code


def _as_dict(step: Step) -> dict[str, Any]:
    return {
        "name": step.service.name,
        "outcome": step.outcome,
        "seconds": round(step.seconds, 1),
        "trouble": step.trouble,
    }
