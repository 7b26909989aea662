"""Completion on the command line: the scripts for the shells, and the names that only this site knows.

A name that cannot be asked for at once is not offered; nothing is ever printed here, and nothing takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from pacsops.cli.site import Site
from pacsops.errors import PacsopsError
from pacsops.orthanc import Orthanc, all_modalities
from pacsops.settings import Settings

_SECONDS = 2.0

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      orthanc completion bash > /etc/bash_completion.d/orthanc
      orthanc completion fish > ~/.config/fish/completions/orthanc.fish

    A deployment with toolkit_command_link puts all three where the shells look for them. Commands and options are
    completed, and the names of destinations and services as this site has them.

    For one session: eval "$(orthanc completion bash)"; zsh needs compinit before it.
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "orthanc", "_ORTHANC_COMPLETE").source())


def _offering(names: Callable[[Settings], Iterable[str]]) -> _Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            known = sorted(names(Settings.load()))
        except PacsopsError:
            return []
        given = ctx.params.get(param.name or "") or ()
        return [
            CompletionItem(name)
            for name in known
            if name.casefold().startswith(incomplete.casefold()) and not (isinstance(given, tuple) and name in given)
        ]

    return complete


def _destinations(settings: Settings) -> Iterable[str]:
    with Orthanc.of(settings, timeout=_SECONDS) as orthanc:
        return list(all_modalities(orthanc))


def _services(settings: Settings) -> Iterable[str]:
    site = Site()
    return site.host.services


destination_names = _offering(_destinations)
service_names = _offering(_services)
