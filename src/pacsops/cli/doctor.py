"""`orthanc doctor`: every check of the site, what it found, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from pacsops import doctor as diagnosis
from pacsops.cli import nagios
from pacsops.cli.parameters import confirm, json_option, yes_option
from pacsops.cli.render import Page, count, show_error, write_json
from pacsops.cli.site import Site, operator, pass_site
from pacsops.doctor import Check, Examination, Section, as_document, chosen, examine
from pacsops.doctor.finding import Finding
from pacsops.errors import PacsopsError

_SIGNS = {"ok": "✅", "warning": "⚠", "error": "❌"}


def _known_checks(_ctx: click.Context, _param: click.Parameter, ids: Sequence[str]) -> tuple[Check, ...]:
    wanted = [id_.strip() for each in ids for id_ in each.split(",") if id_.strip()]
    try:
        return chosen(wanted)
    except KeyError as unknown:
        raise click.BadParameter(f"there is no check {unknown}; `orthanc doctor --list-checks` names them") from None


@click.command("doctor")
@json_option
@click.option("--nagios", "as_nagios", is_flag=True, help="One line with figures, and Nagios' exit codes.")
@click.option("--quiet", "-q", is_flag=True, help="Only show issues; nothing when all is well.")
@click.option(
    "--only", "checks", multiple=True, metavar="ID", callback=_known_checks, help="Only this check (repeatable)."
)
@click.option("--list-checks", is_flag=True, help="What is looked at; asks nobody.")
@click.option("--fix", is_flag=True, help="Repair what is safe to repair, and say what was done.")
@yes_option
@click.pass_context
@pass_site
def doctor(  # noqa: PLR0913 (one parameter an option)
    site: Site,
    ctx: click.Context,
    *,
    as_json: bool,
    as_nagios: bool,
    quiet: bool,
    checks: tuple[Check, ...],
    list_checks: bool,
    fix: bool,
    yes: bool,
) -> None:
    """Run diagnostics and check connectivity.

    \b
    Examples:
      orthanc doctor
      orthanc doctor --only destination-echo --only storage-runway

    Looks at everything and changes nothing without --fix. What cannot be looked at is a warning, what hangs an error
    that names the check. Exit code: 0 healthy, 1 warnings, 2 errors; --nagios: 3 when nothing could be looked at.
    """
    if list_checks:
        _list(checks, as_json=as_json)
        return
    if as_nagios and (as_json or fix):
        raise click.UsageError("--nagios goes with neither --json nor --fix.")
    patient = diagnosis.Site(lambda: site.settings)
    ctx.call_on_close(patient.close)
    examination = examine(patient, checks)
    fixed = _mend(patient, examination, yes=yes) if fix else []
    if fixed:
        patient.forget()
        examination = examine(patient, checks)
    if as_nagios:
        line, code = nagios.said(examination)
        click.echo(line)
        ctx.exit(code)
    if as_json:
        write_json(as_document(examination, fixed))
    elif quiet:
        _print_issues(Page(), examination)
    else:
        _print(Page(), examination)
    ctx.exit(examination.exit_code)


def _list(checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "checks": [
                    {
                        "id": each.id,
                        "section": each.section.value,
                        "scope": each.scope,
                        "looks_at": each.looks_at,
                        "limit_seconds": each.limit,
                    }
                    for each in checks
                ]
            }
        )
        return
    Page().table(
        ("ID", "SECTION", "LOOKS AT"),
        [(each.id, each.section.value, each.looks_at) for each in checks],
        whole=("ID", "SECTION"),
    )


def _mend(site: diagnosis.Site, examination: Examination, *, yes: bool) -> list[str]:
    """Repair what can be; what was done, in words. Remarks go to stderr: stdout has the report."""
    page = Page(stderr=True)
    fixes = [finding.fix for _, finding in examination.findings if finding.fix]
    if not fixes:
        page.line("There is nothing that could be repaired from here.", indent=0)
        return []
    page.line(f"{count(len(fixes), 'repair')} can be made:", indent=0)
    for fix in fixes:
        page.line(fix.does)
    if not confirm("Make them?", yes=yes):
        page.line("Nothing was changed.", indent=0)
        return []
    done = []
    for fix in fixes:
        try:
            done.append(fix.apply(f"{operator()}, orthanc doctor --fix"))
        except PacsopsError as trouble:
            show_error(trouble)
        else:
            page.line(done[-1], "✅")
    sys.stderr.flush()
    return done


def _print(page: Page, examination: Examination) -> None:
    page.title("🩺", "ORTHANC DIAGNOSTICS")
    for section in Section:
        findings = [finding for check, finding in examination.findings if check.section is section and finding.seen]
        if findings:
            page.section(section.value)
            for finding in findings:
                page.line(finding.message, _SIGNS[finding.severity])
    if examination.unseen:
        page.section("NOT LOOKED AT")
        _print_unseen(page, examination)
    page.blank()
    page.rule()
    page.line(f"SUMMARY: {_summary(examination)}", indent=0, style="bold")
    issues = _issues(examination)
    if issues:
        page.section("RECOMMENDATIONS:")
        for number, (label, finding) in enumerate(issues, start=1):
            page.line(f"{number}. {label}: {finding.recommendation}")
    elif not examination.unseen:
        page.line("All is well.", "✅", indent=0)


def _print_issues(page: Page, examination: Examination) -> None:
    for _, finding in _issues(examination):
        page.line(finding.message, _SIGNS[finding.severity], indent=0)
        if finding.recommendation:
            page.line(f"→ {finding.recommendation}", indent=3)
    _print_unseen(page, examination, indent=0)


def _print_unseen(page: Page, examination: Examination, *, indent: int = 2) -> None:
    """Each reason once, with the checks that it kept from looking."""
    reasons: dict[tuple[str, str | None], list[str]] = {}
    for check, finding in examination.findings:
        if not finding.seen:
            reasons.setdefault((finding.message, finding.recommendation), []).append(_name(check, finding))
    for (why, then), names in reasons.items():
        page.line(f"{', '.join(names)}: {why}", "⚠", indent=indent)
        if then:
            page.line(f"→ {then}", indent=indent + 3)


def _name(check: Check, finding: Finding) -> str:
    return f"{check.id} ({finding.subject})" if finding.subject else check.id


def _summary(examination: Examination) -> str:
    said = f"{count(examination.number('warning'), 'warning')}, {count(examination.number('error'), 'error')}"
    return said + (f", {count(examination.unseen, 'check')} could not look" if examination.unseen else "")


def _issues(examination: Examination) -> list[tuple[str, Finding]]:
    """What is not well, errors first: a destination under its name, anything else under its check."""
    found = [
        ((check.section is Section.DESTINATIONS and finding.subject) or _name(check, finding), finding)
        for check, finding in examination.findings
        if finding.severity != "ok" and finding.seen
    ]
    return sorted(found, key=lambda each: each[1].severity)
