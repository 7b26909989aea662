"""One typed `Settings`, read from /opt/orthanc/.env and then from the environment."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from pacsops.errors import SettingsError

DEFAULT_ENV_FILE = Path("/opt/orthanc/.env")


@dataclass(frozen=True, slots=True)
class Settings:
    """Endpoints, credentials and paths of one site. Passwords stay out of `repr`."""

    orthanc_url: str
    orthanc_username: str
    orthanc_password: str = field(repr=False)
    postgres_host: str
    """Host name, address, or the folder of a Unix socket."""
    postgres_port: int
    postgres_db: str
    """pacsops' own database. Orthanc's index is another database, never touched here."""
    postgres_user: str
    postgres_password: str = field(repr=False)
    postgres_sslrootcert: Path | None
    """Authorities, in PEM form, of which PostgreSQL must show a certificate for `postgres_host`. None: no TLS."""
    orthanc_aet: str
    orthanc_dicom_port: int
    dicom_storage_path: Path
    routes_file: Path
    services_file: Path
    """What runs on this host, as the deployment wrote it down."""
    router_wake_host: str
    router_wake_port: int
    """Where the hooks inside Orthanc knock; 0 leaves the router to its one-second poll."""
    env_file: Path | None
    """The file these settings came from, None when there was none."""
    reconcile_at: time | None = None
    """The hour of the nightly reconciliation on the router's host; None: never."""
    router_certificate: Path | None = None
    """What the router shows over TLS to those it sends to itself, with `router_key`; None: it speaks no TLS."""
    router_key: Path | None = None
    router_trusted: Path | None = None
    """The authorities it believes of them."""
    canary_destinations: frozenset[str] = frozenset()
    """Where synthetic studies (`orthanc canary`) may be delivered."""
    graphite_host: str = ""
    """Whom the router tells the site's metrics; empty: nobody."""
    graphite_port: int = 2003
    """Its port for the plaintext protocol."""
    graphite_prefix: str = "orthanc"
    """What their names begin with there."""
    gateway_host: str = "127.0.0.1"
    """Where the gateway is reached from this host."""
    gateway_listen: str = "127.0.0.1"
    """The address the gateway receives on."""
    gateway_port: int = 0
    """Its DICOM port; 0: this host has no gateway."""
    gateway_aet: str = "GATEWAY"
    gateway_spool: Path = Path("/opt/orthanc/data/incoming")
    """Where received images lie: <StudyInstanceUID>/<SOPInstanceUID>.dcm."""
    gateway_file: Path = Path("/opt/orthanc/config/gateway.yml")
    """Who may send, and where to; see `pacsops.gateway.configuration`."""
    gateway_receivers: int = 1
    """Processes that receive, on one port."""
    gateway_reserve: int = 2 << 30
    """Bytes that stay free on the spool's disk: below, images are refused with A700."""
    gateway_stable_age: float = 60.0
    """Seconds without a new image after which a series or a study is whole."""
    gateway_keep_days: int = 7
    """Days a study stays in the spool after all of its deliveries were kept; 0: for ever."""
    gateway_tls_port: int = 0
    """Its second DICOM port, for TLS; 0: it takes no images over TLS."""
    gateway_tls_clients: str = "none"
    """Whether who sends over TLS has to show a certificate of an authority in `gateway_trusted`: required, none."""
    gateway_certificate: Path | None = None
    """What the gateway shows over TLS, with `gateway_key`; None: it speaks no TLS."""
    gateway_key: Path | None = None
    gateway_trusted: Path | None = None
    """The authorities it believes."""
    gateway_drills: bool = False
    """Whether faults may be injected here."""

    @classmethod
    def load(cls, env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Read `env_file`, else the file named by ORTHANC_ENV, else /opt/orthanc/.env; then the environment.

        A value in the file wins over the environment, which fills in what the file does not say.

        Raises:
            SettingsError: a named file is missing or unreadable, a value is missing or no number.
        """
        environ = os.environ if environ is None else environ
        path = env_file or (Path(environ["ORTHANC_ENV"]) if environ.get("ORTHANC_ENV") else None)
        if path is None and DEFAULT_ENV_FILE.exists():
            path = DEFAULT_ENV_FILE
        values = _Values(path, {**environ, **_read(path)} if path else environ)
        base = path.parent if path else DEFAULT_ENV_FILE.parent
        return cls(
            orthanc_url=values.text("ORTHANC_URL", "http://localhost:8042").rstrip("/"),
            orthanc_username=values.text("ORTHANC_USERNAME", ""),
            orthanc_password=values.text("ORTHANC_PASSWORD", ""),
            postgres_host=values.text("POSTGRES_HOST", "localhost"),
            postgres_port=values.number("POSTGRES_PORT", 5432),
            postgres_db=values.text("POSTGRES_DB", "pacsops"),
            postgres_user=values.text("POSTGRES_USER", "pacsops"),
            postgres_password=values.text("POSTGRES_PASSWORD", ""),
            postgres_sslrootcert=values.path("POSTGRES_SSLROOTCERT"),
            orthanc_aet=values.text("ORTHANC_AET", "ORTHANC"),
            orthanc_dicom_port=values.number("ORTHANC_DICOM_PORT", 4242),
            dicom_storage_path=Path(values.text("DICOM_STORAGE_PATH", str(base / "data" / "dicom"))),
            routes_file=Path(values.text("ROUTES_FILE", str(base / "config" / "routes.yml"))),
            services_file=Path(values.text("SERVICES_FILE", str(base / "config" / "services.json"))),
            router_wake_host=values.text("ROUTER_WAKE_HOST", "127.0.0.1"),
            router_wake_port=values.number("ROUTER_WAKE_PORT", 0),
            env_file=path,
            reconcile_at=values.hour("RECONCILE_AT", "02:30"),
            router_certificate=values.path("ROUTER_CERTIFICATE"),
            router_key=values.path("ROUTER_KEY"),
            router_trusted=values.path("ROUTER_TRUSTED"),
            canary_destinations=frozenset(filter(None, values.text("CANARY_DESTINATIONS", "").split(","))),
            graphite_host=values.text("GRAPHITE_HOST", ""),
            graphite_port=values.number("GRAPHITE_PORT", 2003),
            graphite_prefix=values.text("GRAPHITE_PREFIX", "orthanc").strip("."),
            gateway_host=values.text("GATEWAY_HOST", "127.0.0.1"),
            gateway_listen=values.text("GATEWAY_LISTEN", "127.0.0.1"),
            gateway_port=values.number("GATEWAY_PORT", 0),
            gateway_aet=values.text("GATEWAY_AET", "GATEWAY"),
            gateway_spool=Path(values.text("GATEWAY_SPOOL", str(base / "data" / "incoming"))),
            gateway_file=Path(values.text("GATEWAY_FILE", str(base / "config" / "gateway.yml"))),
            gateway_receivers=values.number("GATEWAY_RECEIVERS", 1),
            gateway_reserve=values.number("GATEWAY_RESERVE_MIB", 2048) << 20,
            gateway_stable_age=values.number("GATEWAY_STABLE_SECONDS", 60),
            gateway_keep_days=values.number("GATEWAY_KEEP_DAYS", 7),
            gateway_tls_port=values.number("GATEWAY_TLS_PORT", 0),
            gateway_tls_clients=values.choice(
                "GATEWAY_TLS_CLIENTS", "required" if values.path("GATEWAY_TRUSTED") else "none", ("required", "none")
            ),
            gateway_certificate=values.path("GATEWAY_CERTIFICATE"),
            gateway_key=values.path("GATEWAY_KEY"),
            gateway_trusted=values.path("GATEWAY_TRUSTED"),
            gateway_drills=values.text("GATEWAY_DRILLS", "false") == "true",
        )


class _Values:
    """The merged values, and errors that name the key and the file."""

    def __init__(self, path: Path | None, values: Mapping[str, str | None]) -> None:
        self._values = values
        self._where = str(path) if path else "the environment"

    def text(self, key: str, default: str) -> str:
        return self._values.get(key) or default

    def hour(self, key: str, default: str) -> time | None:
        """`HH:MM`; None for `never`."""
        value = self.text(key, default)
        try:
            return None if value == "never" else time.fromisoformat(value)
        except ValueError:
            raise SettingsError(
                f"{key} in {self._where} is {value!r}, not a time of day", hint="write it as 02:30, or never"
            ) from None

    def choice(self, key: str, default: str, choices: Collection[str]) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise SettingsError(f"{key} in {self._where} is {value!r}, not one of {', '.join(choices)}")
        return value

    def path(self, key: str) -> Path | None:
        value = self._values.get(key)
        return Path(value) if value else None

    def number(self, key: str, default: int) -> int:
        value = self._values.get(key)
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise SettingsError(f"{key} in {self._where} is {value!r}, not a whole number") from None


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise SettingsError(
            f"there is no settings file {path}",
            hint="name it by ORTHANC_ENV, or deploy with `ansible-playbook -i inventories/<site> site.yml`",
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {path}: {error}", hint="it is readable by the site's service user and by root"
        ) from error
    for statement in parse_stream(io.StringIO(text)):
        if statement.error:
            raise SettingsError(
                f"{path}, line {statement.original.line}, is not KEY=value",
                hint="comments begin with #, values may be quoted",
            )
    # interpolate=False: a password may contain `$`.
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {key: value for key, value in values.items() if value}
