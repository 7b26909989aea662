"""The `orthanc` command: its commands in their order, and how errors become messages and exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

import click

from pacsops.cli import (
    add_destination,
    backup,
    canary,
    completion,
    database,
    deliveries,
    destinations,
    doctor,
    drills,
    failures,
    history,
    import_destinations,
    logs,
    metrics,
    orders,
    reconcile,
    replay,
    routes,
    send,
    service_orders,
    simulate,
    status,
    version,
)
from pacsops.cli.parameters import wants_json
from pacsops.cli.render import show_error, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.errors import NothingToDo, PacsopsError

_EPILOG = """\b
Exit codes: 0 healthy or done, 1 warnings or nothing to do, 2 errors.
With --json an error is {"schema_version", "error": {"kind", "message", "hint"}, "exit_code"}.
Settings:   /opt/orthanc/.env, or the file ORTHANC_ENV names.
Completion: eval "$(orthanc completion bash)"; `orthanc completion --help` says more.
"""


_EXIT_CODES = "Exit code: 0 done, 1 nothing to do, 2 an error."

_SEE_ALSO: Mapping[str, tuple[str, ...]] = {
    "status": ("show-stuck", "show-pending", "logs"),
    "logs": ("status", "history"),
    "metrics": ("status", "doctor"),
    "show-stuck": ("history", "retry", "skip"),
    "show-pending": ("history", "destinations"),
    "history": ("retry", "routes explain", "logs --study"),
    "send": ("history", "destinations", "routes explain"),
    "retry": ("show-stuck", "history"),
    "skip": ("show-stuck", "cancel"),
    "cancel": ("show-stuck", "skip"),
    "reconcile": ("history", "routes explain"),
    "destinations": ("add-destination", "test-destination"),
    "add-destination": ("import-destinations", "test-destination", "send"),
    "import-destinations": ("destinations", "add-destination"),
    "remove-destination": ("destinations", "show-pending"),
    "test-destination": ("destinations", "show-pending"),
    "routes": ("route-status", "history"),
    "route-status": ("routes", "show-stuck"),
    "canary": ("routes", "routes explain", "doctor"),
    "start": ("stop", "restart", "logs"),
    "stop": ("start", "status"),
    "restart": ("start", "logs", "status"),
    "simulate": ("history", "status"),
    "inject-fault": ("clear-faults", "simulate scanner"),
    "clear-faults": ("inject-fault", "status"),
    "reset-db": ("simulate scanner", "status"),
    "backup": ("backup verify", "restore", "doctor"),
    "restore": ("backup list", "stop", "reconcile"),
    "db-migrate": ("version", "status"),
}


class Sections(click.Group):
    """A group whose help lists commands by subject, and which prints pacsops' errors with their hints."""

    sections: Mapping[str, tuple[click.Command, ...]]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command.name or "" for commands in self.sections.values() for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([((c.name or "").ljust(width), c.get_short_help_str(limit=70)) for c in commands])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PacsopsError as error:
            show_error(error)
            if isinstance(error, NothingToDo):
                ctx.exit(1)
            if wants_json(ctx):
                said = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
                write_json({"error": said, "exit_code": 2})
            ctx.exit(2)


@click.group(
    cls=Sections, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pacsops", prog_name="orthanc", message="%(prog)s %(version)s (pacsops)")
@click.pass_context
@pass_site
def orthanc(site: Site, ctx: click.Context) -> None:
    """See and mend the DICOM traffic of this site.

    \b
    Examples:
      orthanc status
      orthanc show-stuck --destination MODLINK
    """
    ctx.call_on_close(site.close)


@click.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show help for a command.

    \b
    Examples:
      orthanc help retry
      orthanc help routes explain
    """
    context = ctx.find_root()
    for name in command:
        found = context.command.get_command(context, name) if isinstance(context.command, click.Group) else None
        if found is None:
            raise click.UsageError(f"There is no command {' '.join(command)!r}; see `orthanc help`.")
        context = click.Context(found, info_name=name, parent=context)
    click.echo(context.get_help())


def _assemble() -> None:
    assert isinstance(orthanc, Sections)
    orthanc.sections = {
        "Health": (status.status, doctor.doctor, logs.logs, metrics.metrics, version.version),
        "Deliveries": (
            deliveries.show_stuck,
            deliveries.show_pending,
            failures.failures,
            history.history,
            send.send,
            orders.retry,
            orders.skip,
            orders.cancel,
            reconcile.reconcile,
        ),
        "Destinations": (
            destinations.list_destinations,
            add_destination.add_destination,
            import_destinations.import_destinations,
            destinations.remove_destination,
            destinations.test_destination,
        ),
        "Routes": (routes.routes, routes.route_status, canary.canary),
        "Services": (service_orders.start, service_orders.stop, service_orders.restart),
        "Drills": (simulate.simulate, drills.inject_fault, drills.clear_faults, drills.reset_db),
        "Maintenance": (backup.backup, backup.restore, database.db_migrate, completion.completion, show_help),
    }
    assert isinstance(routes.routes, click.Group)
    routes.routes.add_command(replay.replay)
    for commands in orthanc.sections.values():
        for command in commands:
            command.epilog = _closing(command)
            orthanc.add_command(command)


def _closing(command: click.Command) -> str:
    """The last lines of a command's help: its exit codes, unless it tells them itself, and where to read on."""
    codes = "" if "Exit code" in (command.help or "") else f"{_EXIT_CODES}\n\n"
    others = ", ".join(f"orthanc {name}" for name in _SEE_ALSO.get(command.name or "", ()))
    return codes + (f"See also: {others}" if others else "")


_assemble()


def main() -> None:
    """The console script. Text that a terminal's encoding lacks is replaced, never an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    orthanc.main(prog_name="orthanc")


if __name__ == "__main__":
    main()
