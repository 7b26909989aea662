"""The site a command speaks for: its settings, PostgreSQL and Orthanc, each opened when first asked for."""

from __future__ import annotations

import os
import pwd
from functools import cached_property

import click

from pacsops.database import Database
from pacsops.database.migrate import require_current
from pacsops.orthanc import Orthanc
from pacsops.services import Host, read_host
from pacsops.settings import Settings


class Site:
    """Raises pacsops' own errors on first use, so that `orthanc help` works on a host without a site."""

    @cached_property
    def settings(self) -> Settings:
        return Settings.load()

    @cached_property
    def any_db(self) -> Database:
        """The database whatever its schema: for migrating and for reporting on it."""
        return Database(self.settings, application="orthanc")

    @cached_property
    def db(self) -> Database:
        """The database, its schema checked once.

        Raises:
            DatabaseUnreachable, SchemaMismatch, SettingsError
        """
        require_current(self.any_db)
        return self.any_db

    @cached_property
    def orthanc(self) -> Orthanc:
        return Orthanc.of(self.settings)

    @cached_property
    def host(self) -> Host:
        """The services of this host.

        Raises:
            HostNotDescribed: no deployment wrote them down here.
        """
        return read_host(self.settings.services_file)

    def close(self) -> None:
        """Close what was opened."""
        opened = vars(self)
        for name in ("any_db", "orthanc"):
            if name in opened:
                opened[name].close()


pass_site = click.make_pass_decorator(Site, ensure=True)


def operator() -> str:
    """Who gives an order, for the timeline: the login name, also behind sudo."""
    account = _account(os.getuid())
    behind_sudo = os.environ.get("SUDO_USER")
    return f"{behind_sudo} (sudo)" if os.getuid() == 0 and behind_sudo else account


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # containers run as numbers without a name
        return f"uid {uid}"
