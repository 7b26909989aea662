"""`orthanc import-destinations`: the modalities of another Orthanc's configuration file, all at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pacsops.cli.parameters import confirm, dry_run_option, json_option, yes_option
from pacsops.cli.render import Page, count, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.doctor.destination_state import RIGHTS, address
from pacsops.errors import NothingToDo
from pacsops.orthanc import Modality, ModalityChange, all_modalities, ensure
from pacsops.orthanc.configuration import read_modalities


@click.command("import-destinations")
@click.argument("file", type=click.Path(path_type=Path))
@dry_run_option
@yes_option
@json_option
@pass_site
def import_destinations(site: Site, file: Path, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Import destinations from an Orthanc configuration.

    \b
    Examples:
      orthanc import-destinations /etc/orthanc/orthanc.json --dry-run
      orthanc import-destinations old/orthanc.json --yes

    FILE is an orthanc.json with its comments, of which DicomModalities are read, in both their forms. Each keeps the
    rights it has there; Orthanc allows what is not denied. Shows what is new, changed and as before, and asks. What
    Orthanc has besides stays. Nothing is imported while one entry is not what Orthanc would take.

    Exit code: 0 imported, or all there already; 1 nothing was changed; 2 the file cannot be used.
    """
    wanted = read_modalities(file)
    known = all_modalities(site.orthanc)
    changes = [ensure(site.orthanc, modality, apply=False) for modality in wanted]
    others = sorted(set(known) - {modality.name for modality in wanted})
    to_do = [change for change in changes if change.changed]
    if not as_json:
        _announce(Page(), file, changes, others)
    if to_do and not dry_run:
        if not confirm(f"Import {count(len(to_do), 'destination')}?", yes=yes):
            raise NothingToDo("Nothing was changed.")
        for change in to_do:
            assert change.after is not None
            ensure(site.orthanc, change.after)
    if as_json:
        write_json(_document(changes, others, dry_run=dry_run))
    else:
        _conclude(Page(), to_do, dry_run=dry_run)


def _announce(page: Page, file: Path, changes: list[ModalityChange], others: list[str]) -> None:
    page.title("📋", f"IMPORT DESTINATIONS: {file.name}")
    page.blank()
    rows = [(after.name, *_what(change, after)) for change in changes if (after := change.after) is not None]
    page.records(("NAME", "", "AE TITLE @ ADDRESS, MAY ASK FOR"), rows, whole=("NAME", ""))
    if others:
        page.blank()
        page.line(f"Not in the file, stays: {', '.join(others)}", indent=0)
    page.blank()


def _what(change: ModalityChange, after: Modality) -> tuple[str, str]:
    said = address(after) + f", {_rights(after)}"
    if change.before is None:
        return "new", said
    if not change.changed:
        return "as before", said
    differences = change.before.differences(after)
    return "changed", said + ": " + ", ".join(f"{name} {old} → {new}" for name, (old, new) in differences.items())


def _rights(modality: Modality) -> str:
    values = asdict(modality)
    return " ".join(right for right in ("echo", *RIGHTS) if values[f"allow_{right}"]) or "nothing"


def _conclude(page: Page, to_do: list[ModalityChange], *, dry_run: bool) -> None:
    if not to_do:
        page.line("All of them are there already.", "✅", indent=0)
    elif dry_run:
        page.line(f"Dry run: {count(len(to_do), 'destination')} would be imported; nothing was changed.", indent=0)
    else:
        page.line(f"{count(len(to_do), 'destination')} imported, available at once.", "✅", indent=0)
        page.blank()
        page.actions(
            [
                (f"orthanc test-destination {change.after.name}", "C-ECHO it")
                for change in to_do[:5]
                if change.after is not None
            ]
        )


def _document(changes: list[ModalityChange], others: list[str], *, dry_run: bool) -> dict[str, Any]:
    def names(kind: str) -> list[str]:
        return [after.name for change in changes if (after := change.after) and _what(change, after)[0] == kind]

    changed = [
        {
            "name": change.before.name,
            "differences": {
                name: {"before": old, "after": new}
                for name, (old, new) in change.before.differences(change.after).items()
            },
        }
        for change in changes
        if change.changed and change.before is not None and change.after is not None
    ]
    return {
        "dry_run": dry_run,
        "added": names("new"),
        "changed": changed,
        "kept": names("as before"),
        "others": others,
        "destinations": [asdict(change.after) for change in changes if change.after is not None],
    }
