"""What every other check stands on: the settings file; and certificates, which end on a day nobody has in mind."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, error, ok, unseen, warning
from pacsops.doctor.site import Site
from pacsops.errors import SettingsError
from pacsops.words import lasting, now

_RENEW = timedelta(days=30)  # as certificates_renew_days: a deployment makes them anew from then on


@check("settings", section=Section.SERVICES, scope="host")
def settings(site: Site) -> Iterator[Finding]:
    """Whether the site's settings can be read, and by nobody who should not."""
    try:
        file = site.settings.env_file
    except SettingsError as trouble:
        yield error(f"{trouble}.", trouble.hint or "deploy the site again: `ansible-playbook … site.yml`")
        return
    if file is None:
        yield ok("there is no settings file; the environment says all there is")
        return
    mode = file.stat().st_mode
    if mode & stat.S_IROTH:
        yield warning(
            f"{file} has passwords and every user of this host can read it.",
            f"`chmod o-rwx {file}`, then new passwords: `ansible-playbook … playbooks/secrets.yml`",
            path=str(file),
            mode=f"{stat.S_IMODE(mode):04o}",
        )
        return
    yield ok(f"the settings are in {file}", path=str(file))


@check("certificates", section=Section.SERVICES, scope="host")
def certificates(site: Site) -> Iterator[Finding]:
    """How long the certificates of this host's services last."""
    folder = site.home / "config" / "certificates"
    try:
        files = sorted(folder.glob("*.crt"))
    except PermissionError:
        files = []
    if not files:
        yield ok("no service of this host shows a certificate", path=str(folder))
        return
    for file in files:
        try:
            ends = min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(file.read_bytes()))
        except (OSError, ValueError) as trouble:
            yield unseen(f"{file}: {trouble}", "run it as root", subject=file.stem)
            continue
        yield _judged(file.stem, ends)


def _judged(service: str, ends: datetime) -> Finding:
    left = ends - now()
    figures = (Figure(f"certificate_{service}", round(left.total_seconds()), "s"),)
    then = (
        "deploy the site (`ansible-playbook … site.yml`): its own certificates are made anew; put the hospital's new"
        " one in place before"
    )
    if left <= timedelta(0):
        said = f"The certificate of {service} ended on {ends:%Y-%m-%d}."
        return error(said, then, subject=service, figures=figures, ends=ends)
    if left <= _RENEW:
        said = f"The certificate of {service} ends on {ends:%Y-%m-%d}, in {lasting(left.total_seconds())}."
        return warning(said, then, subject=service, figures=figures, ends=ends)
    return ok(
        f"the certificate of {service} lasts until {ends:%Y-%m-%d}", subject=service, figures=figures, ends=ends
    )
