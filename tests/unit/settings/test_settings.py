"""Settings come from the file, and from the environment for what the file does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsops.errors import SettingsError
from pacsops.settings import Settings


def test_the_file_wins_and_the_environment_fills_in(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('ORTHANC_URL=http://pacs:8042/\nORTHANC_PASSWORD="a$b #c"\nPOSTGRES_PORT=5433\n')
    environment = {"ORTHANC_ENV": str(file), "ORTHANC_URL": "http://other", "ORTHANC_AET": "LPCH"}

    settings = Settings.load(environ=environment)

    assert settings.orthanc_url == "http://pacs:8042"
    assert settings.orthanc_password == "a$b #c"
    assert (settings.postgres_port, settings.orthanc_aet) == (5433, "LPCH")
    assert settings.routes_file == tmp_path / "config" / "routes.yml"
    assert settings.env_file == file


def test_passwords_do_not_show() -> None:
    settings = Settings.load(environ={"ORTHANC_PASSWORD": "hidden-one", "POSTGRES_PASSWORD": "hidden-two"})

    assert "hidden" not in repr(settings)


def test_a_missing_file_and_a_bad_number_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no settings file") as missing:
        Settings.load(environ={"ORTHANC_ENV": str(tmp_path / "none")})
    assert "ORTHANC_ENV" in (missing.value.hint or "")

    with pytest.raises(SettingsError, match="POSTGRES_PORT in the environment is 'many'"):
        Settings.load(environ={"POSTGRES_PORT": "many"})


def test_a_garbled_line_is_named_and_nothing_is_guessed(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# ours\nORTHANC_URL=http://pacs:8042\nthis is 'no assignment\n")

    with pytest.raises(SettingsError, match="line 3"):
        Settings.load(file, environ={})


def test_the_hour_of_the_night_is_a_time_or_never() -> None:
    assert str(Settings.load(environ={}).reconcile_at) == "02:30:00"
    assert str(Settings.load(environ={"RECONCILE_AT": "23:15"}).reconcile_at) == "23:15:00"
    assert Settings.load(environ={"RECONCILE_AT": "never"}).reconcile_at is None
    with pytest.raises(SettingsError, match="RECONCILE_AT in the environment is 'midnight'") as wrong:
        Settings.load(environ={"RECONCILE_AT": "midnight"})
    assert "never" in (wrong.value.hint or "")


def test_the_database_is_spoken_to_over_tls_when_an_authority_is_named() -> None:
    """Empty, as the deployment writes it for a database on this host, is none."""
    assert Settings.load(environ={"POSTGRES_SSLROOTCERT": ""}).postgres_sslrootcert is None
    assert Settings.load(environ={"POSTGRES_SSLROOTCERT": "/ca.crt"}).postgres_sslrootcert == Path("/ca.crt")


def test_who_sends_to_the_gateway_over_tls_shows_a_certificate_where_authorities_are_named() -> None:
    trusted = {"GATEWAY_TRUSTED": "/trusted.crt"}

    assert Settings.load(environ={}).gateway_tls_clients == "none"
    assert Settings.load(environ=trusted).gateway_tls_clients == "required"
    assert Settings.load(environ={**trusted, "GATEWAY_TLS_CLIENTS": "none"}).gateway_tls_clients == "none"
    with pytest.raises(SettingsError, match="GATEWAY_TLS_CLIENTS in the environment is 'maybe'"):
        Settings.load(environ={"GATEWAY_TLS_CLIENTS": "maybe"})


def test_nobody_is_told_metrics_unless_a_graphite_is_named() -> None:
    """GRAPHITE_HOST is there and empty where a deployment knows of none."""
    none = Settings.load(environ={"GRAPHITE_HOST": ""})
    named = Settings.load(environ={"GRAPHITE_HOST": "graphite", "GRAPHITE_PREFIX": "orthanc.prod."})

    assert (none.graphite_host, none.graphite_port, none.graphite_prefix) == ("", 2003, "orthanc")
    assert (named.graphite_host, named.graphite_prefix) == ("graphite", "orthanc.prod")
