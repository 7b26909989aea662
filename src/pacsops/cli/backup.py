"""`orthanc backup`, `backup list|status|verify` and `orthanc restore`."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn
from rich.progress import Progress as Bar

from pacsops import backup as backups
from pacsops.backup.progress import Progress, silent
from pacsops.backup.restic import Repository
from pacsops.cli.parameters import confirm, json_option, yes_option
from pacsops.cli.render import Page, ago, count, lasting, size, timestamp, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.errors import NothingToDo

_SILENT_SECONDS = 2.0
_quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress and no page; only what is wrong.")


@click.group("backup", invoke_without_command=True)
@json_option
@_quiet_option
@click.option("--id", "backup_id", metavar="ID", help="Tie it to what other hosts of the site back up by this ID.")
@click.pass_context
@pass_site
def backup(site: Site, ctx: click.Context, as_json: bool, quiet: bool, backup_id: str | None) -> None:
    """Back up what this host has; list, verify.

    \b
    Examples:
      orthanc backup
      orthanc backup verify

    First both databases, then Orthanc's images, routes.yml and the configuration, into the site's restic repository.
    Services keep running. Old backups are dropped as the inventory says. Exit code: 0 done, 1 done with warnings,
    2 not done.
    """
    if ctx.invoked_subcommand is not None:
        if as_json or quiet or backup_id:
            raise click.UsageError(f"Say it after the command: orthanc backup {ctx.invoked_subcommand} … --json")
        return
    configuration = backups.BackupConfiguration.load(site.settings)
    with _shown(quiet=quiet or as_json) as progress:
        made = backups.back_up(configuration, site.any_db, site.orthanc, progress, backup_id=backup_id)
    if as_json:
        write_json(asdict(made))
    elif not quiet:
        page = Page()
        page.title("💾", f"BACKUP {made.id}")
        page.facts(
            [
                ("Parts", ", ".join(made.parts)),
                ("Database rows", f"{made.rows:,}"),
                ("Files", f"{made.files:,} ({size(made.octets)})"),
                ("Added", f"{size(made.added_octets)} to {made.repository}"),
                ("Took", lasting(made.seconds)),
            ]
        )
        page.rule()
        page.advice("`orthanc backup verify` proves that it can be restored.")
    for warning in made.warnings:
        warn(warning)
    ctx.exit(1 if made.warnings else 0)


@backup.command("list")
@json_option
@pass_site
def list_backups(site: Site, as_json: bool) -> None:
    """List the backups in the site's repository.

    \b
    Examples:
      orthanc backup list
      orthanc backup list --json

    Asks the repository itself: it answers while PostgreSQL is gone. Half a backup lacks parts that the site has; it
    cannot be restored.
    """
    configuration = backups.BackupConfiguration.load(site.settings)
    found = backups.stored_backups(Repository(configuration))
    if as_json:
        write_json({"repository": configuration.repository_shown, "backups": [_as_dict(each) for each in found]})
        return
    if not found:
        raise NothingToDo(f"No backup yet in {configuration.repository_shown}.", hint="`orthanc backup`")
    page = Page()
    page.title("💾", f"BACKUPS in {configuration.repository_shown}")
    page.table(
        ("BACKUP", "MADE", "FILES", "HOSTS", "PARTS"),
        [
            (
                each.id,
                f"{timestamp(each.at)} ({ago(each.at)})",
                f"{each.files:,} ({size(each.octets or 0)})" if each.files is not None else "–",
                ", ".join(each.hosts),
                f"❌ without {', '.join(each.missing)}" if each.missing else f"✅ {', '.join(each.parts)}",
            )
            for each in found
        ],
        whole=("BACKUP",),
    )
    page.rule()
    page.actions([(f"orthanc restore {found[0].id}", "into a host that was just deployed, services stopped")])


@backup.command("status")
@json_option
@click.pass_context
@pass_site
def backup_status(site: Site, ctx: click.Context, as_json: bool) -> None:
    """Show the last backup, and the last one proved by restoring it.

    \b
    Examples:
      orthanc backup status
      orthanc backup status --json

    What was written down in PostgreSQL; needs no repository. Exit code: 0 when the newest of each went well, 1
    otherwise.
    """
    newest = {kind: backups.newest_run(site.db, kind) for kind in ("backup", "verify", "restore")}
    good = {kind: backups.newest_run(site.db, kind, ok=True) for kind in ("backup", "verify")}
    runs = backups.recent_runs(site.db, 10)
    well = all((run := newest[kind]) is not None and run.ok for kind in ("backup", "verify"))
    if as_json:
        write_json(
            {
                "last_backup": _run(good["backup"]),
                "last_verify": _run(good["verify"]),
                "last_restore": _run(newest["restore"]),
                "runs": [_run(run) for run in runs],
                "exit_code": 0 if well else 1,
            }
        )
        ctx.exit(0 if well else 1)
    page = Page()
    page.title("💾", "BACKUP STATUS")
    page.facts([("Last backup", _told(good["backup"])), ("Last verified restore", _told(good["verify"]))])
    page.section("RUNS")
    page.table(
        ("", "BEGUN", "HOST", "BACKUP", "TOOK", "ERROR"),
        [
            (
                f"{'⏳' if run.ok is None else '✅' if run.ok else '❌'} {run.kind}",
                timestamp(run.started_at),
                str(run.detail.get("host", "–")),
                str(run.detail.get("backup_id", "–")),
                lasting((run.finished_at - run.started_at).total_seconds()) if run.finished_at else "not ended",
                _error(run),
            )
            for run in runs
        ],
        whole=("", "BEGUN"),
    )
    page.rule()
    if not well:
        page.actions([("orthanc backup", "make one"), ("orthanc backup verify", "prove the newest by restoring it")])
    ctx.exit(0 if well else 1)


@backup.command("verify")
@click.argument("backup_id", metavar="[BACKUP]", default="latest")
@click.option("--sample", type=click.IntRange(min=1), help="Instances to restore and hash, instead of the site's.")
@json_option
@_quiet_option
@click.pass_context
@pass_site
def verify(site: Site, ctx: click.Context, backup_id: str, sample: int | None, as_json: bool, quiet: bool) -> None:
    """Restore a backup into a throwaway place, count, hash, measure.

    \b
    Examples:
      orthanc backup verify
      orthanc backup verify 20260203-103015 --sample 1000

    Both databases are restored into a PostgreSQL made for the purpose, every table's rows counted; a sample of the
    images is restored and hashed. Nothing of the site is touched. Exit code: 0 proved, 2 not.
    """
    configuration = backups.BackupConfiguration.load(site.settings)
    with _shown(quiet=quiet or as_json) as progress:
        found = backups.verify(configuration, site.any_db, progress, name=backup_id, sample=sample)
    if as_json:
        write_json({**asdict(found), "ok": found.ok})
        ctx.exit(0 if found.ok else 2)
    page = Page(stderr=quiet)
    if not quiet or not found.ok:
        page.title("💾", f"BACKUP {found.backup_id} RESTORED ELSEWHERE AND COMPARED")
        page.facts(
            [
                ("Rows", _rows(found)),
                ("Images", f"{count(found.hashed_instances, 'image')} restored and hashed ({_pace(found)})"),
                ("Index and files", _compared(found.rows_without_file, found.files_without_row)),
                ("Took", lasting(found.seconds)),
            ]
        )
        page.rule()
        for problem in found.problems:
            page.line(problem, "❌", indent=0)
        if found.ok:
            page.line("It can be restored.", "✅", indent=0)
    for warning in found.warnings:
        warn(warning)
    ctx.exit(0 if found.ok else 2)


@click.command("restore")
@click.argument("backup_id", metavar="BACKUP")
@click.option("--replace", is_flag=True, help="Lay aside what is on this host, where it is not empty.")
@yes_option
@json_option
@click.pass_context
@pass_site
def restore(site: Site, ctx: click.Context, backup_id: str, replace: bool, yes: bool, as_json: bool) -> None:
    """Put a backup back onto this host.

    \b
    Examples:
      orthanc restore latest
      orthanc restore 20260203-103015-3fa9 --yes

    Into a host that was just deployed, with Orthanc and the router stopped and PostgreSQL running. Deliveries that
    were pending go on once the services start. Exit code: 0 done, 2 not done, or images are missing.
    """
    configuration = backups.BackupConfiguration.load(site.settings)
    plan = backups.plan_restore(configuration, site.any_db, site.orthanc, backup_id, replace=replace)
    if not as_json:
        _announce(Page(), plan)
    if not confirm(f"Restore {plan.backup.id} onto {socket.gethostname()}?", yes=yes):
        raise NothingToDo("Nothing was changed.")
    with _shown(quiet=as_json) as progress:
        done = backups.restore(configuration, site.any_db, site.orthanc, plan, progress)
    if as_json:
        write_json({**asdict(done), "ok": done.ok})
        ctx.exit(0 if done.ok else 2)
    page = Page()
    page.line(f"Restored in {lasting(done.seconds)}.", "✅", indent=0)
    if done.rows_without_file is not None:
        page.line(f"Index and files: {_compared(done.rows_without_file, done.files_without_row)}", indent=0)
    for place in done.laid_aside:
        page.line(f"What was here before is in {place}", indent=0)
    page.rule()
    page.actions(
        [
            (configuration.start, "start the services"),
            ("orthanc reconcile --since 30d", "route what had arrived and not been routed"),
            ("orthanc status", "is anything wrong?"),
        ]
    )
    for warning in done.warnings:
        warn(warning)
    if not done.ok:
        warn(
            f"{count(done.rows_without_file or 0, 'file is', 'files are')} missing:"
            f" {', '.join(done.examples)}{' …' if (done.rows_without_file or 0) > len(done.examples) else ''}",
            "an older backup may have them: `orthanc backup list`",
        )
    ctx.exit(0 if done.ok else 2)


def _announce(page: Page, plan: backups.RestorePlan) -> None:
    page.title("💾", f"RESTORING {plan.backup.id}")
    page.facts(
        [
            ("Made", f"{timestamp(plan.backup.at)} ({ago(plan.backup.at)}) on {', '.join(plan.backup.hosts)}"),
            ("Parts", ", ".join(plan.parts)),
            ("Database rows", f"{plan.rows:,}" if plan.rows is not None else "–"),
            ("Files", f"{plan.files:,} ({size(plan.octets or 0)})" if plan.files is not None else "–"),
        ]
    )
    for each in plan.replaces:
        page.line(f"laid aside: {each}", "⚠", indent=0)
    page.blank()


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, a line now and then elsewhere; both on stderr, and only once it takes a while."""
    if quiet:
        yield silent
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            yield partial(_advance, bar, bar.add_task("Beginning", total=None))


def _advance(bar: Bar, task: Any, step: str, done: int, total: int) -> None:
    bar.update(task, description=step, completed=done, total=max(done, total) or None)


class _Lines:
    """Progress where nothing can be overwritten: a line at each new step, and every minute."""

    def __init__(self) -> None:
        self._speak_at = time.monotonic() + _SILENT_SECONDS
        self._said = ""

    def __call__(self, step: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        if now >= self._speak_at and (step != self._said or now >= self._speak_at + 60):
            self._said, self._speak_at = step, now
            click.echo(f"{step}…" + (f" {100 * done // total} %" if total else ""), err=True)


def _as_dict(found: backups.StoredBackup) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": found.at,
        "hosts": list(found.hosts),
        "parts": list(found.parts),
        "missing": list(found.missing),
        "files": found.files,
        "octets": found.octets,
    }


def _run(run: backups.Run | None) -> dict[str, Any] | None:
    return asdict(run) if run else None


def _told(run: backups.Run | None) -> str:
    if run is None or run.finished_at is None:
        return "❌ never"
    took = f", took {lasting(run.detail['seconds'])}" if "seconds" in run.detail else ""
    return f"✅ {timestamp(run.finished_at)} ({ago(run.finished_at)}){took}, {run.detail.get('backup_id', '?')}"


def _error(run: backups.Run) -> str:
    problems = run.detail.get("problems") or []
    return str(run.detail.get("error") or (problems[0] if problems else ""))


def _rows(found: backups.Verification) -> str:
    if found.restored_rows is None:
        return "– this host cannot restore databases"
    return (
        f"{found.restored_rows:,} in {count(found.restored_tables or 0, 'table')} restored"
        f" ({lasting(found.database_seconds or 0)})"
    )


def _pace(found: backups.Verification) -> str:
    pace = f", {size(int(found.hashed_octets / found.files_seconds))}/s" if found.files_seconds else ""
    return f"{count(found.md5_instances, 'MD5')} of Orthanc's compared{pace}"


def _compared(rows: int | None, files: int | None) -> str:
    if rows is None or files is None:
        return "– not compared"
    return (
        f"{'❌' if rows else '✅'} {count(rows, 'row')} without a file,"
        f" {count(files, 'file')} without a row{' (newer than the dump)' if files else ''}"
    )
