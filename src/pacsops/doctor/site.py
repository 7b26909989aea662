"""A site as the checks ask about it: every fact asked for once, whoever wants it, and its error as well."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pacsops.database import Database
from pacsops.database.migrate import require_current
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import GATEWAY, ROUTER, Beat
from pacsops.delivery.levels import Overdue
from pacsops.delivery.model import DestinationHealth, RoutesVersion, RoutingCounts
from pacsops.delivery.verification import Unverified
from pacsops.dimse import verification
from pacsops.doctor.gateway_destinations import gateway_destinations, gateway_pools
from pacsops.doctor.rules import Rules, rules_in_force
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable, PacsopsError, SchemaMismatch
from pacsops.orthanc import Echo, Modality, Orthanc, Statistics, all_modalities, echo
from pacsops.services import Host, read_host
from pacsops.settings import DEFAULT_ENV_FILE, Settings
from pacsops.words import now

WINDOW = timedelta(hours=24)
ORTHANC_TIMEOUT = 5.0
"""Seconds. What takes longer is a finding."""
ECHO_TIMEOUT = 5.0
"""Seconds for each of connecting, associating and answering."""

# libpq gives no SQLSTATE for a connection it did not get, only the server's words.
_REFUSED_LOGIN = re.compile(r"authentication failed|no pg_hba\.conf entry|(?:role|database) .* does not exist")

Value = TypeVar("Value")


class fact(Generic[Value]):
    """A property asked for once. Threads that want it meanwhile wait for it; a PacsopsError is remembered too."""

    def __init__(self, ask: Callable[[Any], Value]) -> None:
        self._ask = ask
        self.name = ask.__name__
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, site: None, owner: type) -> fact[Value]: ...

    @overload
    def __get__(self, site: Site, owner: type) -> Value: ...

    def __get__(self, site: Site | None, owner: type) -> Value | fact[Value]:
        if site is None:
            return self
        described = (self.__doc__ or self.name).splitlines()[0]
        return site.once(self.name, described, lambda: self._ask(site))


@dataclass(frozen=True, slots=True)
class OrthancAnswer:
    """GET /system, and how long it took."""

    system: Mapping[str, Any]
    milliseconds: int


@dataclass(frozen=True, slots=True)
class PostgresAnswer:
    """PostgreSQL's version, start, and the size of the databases that our role may see, in octets."""

    version: str
    since: datetime
    sizes: Mapping[str, int]
    at: datetime
    """Its clock, when asked."""


@dataclass(frozen=True, slots=True)
class DestinationAnswer:
    """A C-ECHO from Orthanc, and in the peer's words why it rejects our AE titles, where it does."""

    echo: Echo
    rejection: str | None = None


class _Asking:
    """Notes what a thread asks for, so that one that hangs can be told by it."""

    def __init__(self, under_way: dict[int, list[str]], what: str) -> None:
        self._stack = under_way.setdefault(threading.get_ident(), [])
        self._what = what

    def __enter__(self) -> None:
        self._stack.append(self._what)

    def __exit__(self, *_: object) -> None:
        self._stack.pop()


class Site:
    """Settings, PostgreSQL and Orthanc of one site. Threads share it; each fact is asked for once.

    Every fact raises the PacsopsError that kept it from being known, each time.
    """

    def __init__(self, load: Callable[[], Settings] = Settings.load) -> None:
        self._load = load
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._under_way: dict[int, list[str]] = {}
        self._known: dict[str, tuple[Any, PacsopsError | None]] = {}

    def once(self, name: str, what: str, ask: Callable[[], Value]) -> Value:
        """Ask, unless it was asked before: then what was answered, or raised, is so again."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with self.asking(what), lock:
            if name not in self._known:
                try:
                    self._known[name] = (ask(), None)
                except PacsopsError as error:
                    self._known[name] = (None, error)
        answer, trouble = self._known[name]
        if trouble is not None:
            raise trouble
        said: Value = answer
        return said

    def asking(self, what: str) -> _Asking:
        """`with site.asking("the clock of PostgreSQL"):` tells what is waited for, should it hang."""
        return _Asking(self._under_way, what)

    def asked_by(self, thread: int) -> str | None:
        """What a thread asks for at this moment."""
        stack = self._under_way.get(thread)
        return stack[-1] if stack else None

    def forget(self) -> None:
        """Ask for everything anew: something was changed."""
        self.close()
        self._known.clear()

    def leave(self) -> None:
        """A thread is done: its connection to PostgreSQL is closed."""
        if (database := self._known.get("any_db", (None, None))[0]) is not None:
            database.close()

    def close(self) -> None:
        """Close what was opened."""
        self.leave()
        if (orthanc := self._known.get("orthanc", (None, None))[0]) is not None:
            orthanc.close()

    @fact
    def settings(self) -> Settings:
        """the site's settings"""
        return self._load()

    @property
    def home(self) -> Path:
        """The folder of the site: .env, config/, data/, logs/."""
        return (self.settings.env_file or DEFAULT_ENV_FILE).absolute().parent

    @fact
    def host(self) -> Host:
        """what runs on this host

        Raises:
            HostNotDescribed
        """
        return read_host(self.settings.services_file)

    @fact
    def any_db(self) -> Database:
        """the database, whatever its schema"""
        return Database(self.settings, application="orthanc doctor")

    @fact
    def orthanc(self) -> Orthanc:
        """the client of Orthanc"""
        return Orthanc.of(self.settings, timeout=ORTHANC_TIMEOUT)

    @property
    def db(self) -> Database:
        """The database, of a schema that can be asked.

        Raises:
            DatabaseUnreachable, SchemaMismatch, SettingsError
        """
        _ = self.postgres
        _ = self.schema
        return self.any_db

    @fact
    def postgres(self) -> PostgresAnswer:
        """PostgreSQL's version and sizes"""
        with self.any_db.transaction() as tx:
            row = tx.one(
                "SELECT current_setting('server_version') AS version, pg_postmaster_start_time() AS since,"
                " clock_timestamp() AS at"
            )
            sizes = tx.all(
                "SELECT datname, pg_database_size(oid) AS bytes FROM pg_database"
                " WHERE has_database_privilege(oid, 'CONNECT') AND datallowconn ORDER BY datname"
            )
        return PostgresAnswer(row["version"], row["since"], {r["datname"]: int(r["bytes"]) for r in sizes}, row["at"])

    @staticmethod
    def login_refused(trouble: DatabaseUnreachable) -> bool:
        """Whether PostgreSQL runs and did not let us in."""
        return _REFUSED_LOGIN.search(str(trouble)) is not None

    @fact
    def schema(self) -> str:
        """the database's schema"""
        require_current(self.any_db)
        return "current"

    @fact
    def system(self) -> OrthancAnswer:
        """Orthanc's /system"""
        started = time.monotonic()
        system = self.orthanc.system()
        return OrthancAnswer(system, round((time.monotonic() - started) * 1000))

    @fact
    def statistics(self) -> Statistics:
        """Orthanc's /statistics"""
        _ = self.system
        return self.orthanc.statistics()

    @fact
    def modalities(self) -> dict[str, Modality]:
        """Orthanc's modalities"""
        _ = self.system
        return all_modalities(self.orthanc)

    @property
    def modalities_if_known(self) -> dict[str, Modality] | None:
        """None when Orthanc does not say."""
        try:
            return self.modalities
        except (OrthancUnreachable, OrthancRefused):
            return None

    def echo(self, modality: Modality) -> DestinationAnswer:
        """Its answer to Orthanc's C-ECHO; where it rejects Orthanc, which does not say why, the reason it gives us.

        Raises:
            OrthancUnreachable, OrthancRefused, UnknownDestination
        """
        return self.once(f"echo {modality.name}", f"the C-ECHO of {modality.name}", lambda: self._echo(modality))

    def _echo(self, modality: Modality) -> DestinationAnswer:
        outcome = echo(self.orthanc, modality.name, timeout=ECHO_TIMEOUT)
        if outcome.failure is None or outcome.failure.kind != "rejected-association" or modality.use_dicom_tls:
            return DestinationAnswer(outcome)
        calling = modality.local_aet or self.settings.orthanc_aet
        ours = verification.echo(modality.host, modality.port, modality.aet, calling, ECHO_TIMEOUT)
        return DestinationAnswer(outcome, ours.reason if ours.outcome == "rejected" else None)

    @fact
    def beat(self) -> Beat | None:
        """the router's sign of life"""
        return ROUTER.newest(self.db)

    @fact
    def gateway_beat(self) -> Beat | None:
        """the gateway's sign of life"""
        return GATEWAY.newest(self.db)

    @property
    def gateway_destinations(self) -> dict[str, Modality]:
        """Where the gateway sends to; nothing where PostgreSQL does not say."""
        return gateway_destinations(self.gateway_beat) if self.database_answers else {}

    @property
    def gateway_pools(self) -> dict[str, list[str]]:
        """Its pools, and who is in them; likewise."""
        return gateway_pools(self.gateway_beat) if self.database_answers else {}

    @fact
    def counts(self) -> RoutingCounts:
        """the counts of deliveries"""
        return desk.counts(self.db, now() - WINDOW)

    @fact
    def overdue(self) -> list[Overdue]:
        """the deliveries that are late"""
        return desk.overdue(self.db)

    @fact
    def unverified(self) -> list[Unverified]:
        """the deliveries that could not be verified"""
        return desk.unverified(self.db)

    @fact
    def destination_health(self) -> dict[str, DestinationHealth]:
        """how deliveries to each destination went"""
        return desk.destination_health(self.db)

    @fact
    def newest_routes(self) -> RoutesVersion | None:
        """the newest routes.yml the router met"""
        return desk.newest_routes(self.db)

    @property
    def database_answers(self) -> bool:
        """Whether deliveries can be asked about.

        Raises:
            SettingsError
        """
        try:
            _ = self.db
        except (DatabaseUnreachable, SchemaMismatch):
            return False
        return True

    @fact
    def rules(self) -> Rules:
        """the routes in force

        Raises:
            RoutesInvalid: there are none.
        """
        return rules_in_force(self, database_answers=self.database_answers)
