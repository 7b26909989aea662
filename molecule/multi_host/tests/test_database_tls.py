"""What crosses the network between the site's hosts and its database is encrypted, and goes to nobody else."""

from __future__ import annotations

from testinfra.backend.base import CommandResult
from tests.support.deployed import Site

SUPERUSER = "psql -X -h /opt/orthanc/run/postgres -U postgres -tA -c"


def test_every_client_of_another_host_speaks_tls(site: Site) -> None:
    database = site.with_service("postgres")
    told = database.says(
        f'{SUPERUSER} "SELECT DISTINCT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)'
        ' WHERE client_addr IS NOT NULL"'
    )
    assert set(told.split()) == {"orthanc|t", "pacsops|t"}


def test_without_tls_nobody_is_let_in_from_another_host(site: Site) -> None:
    refused = _login(site, host=site.with_service("postgres").name, sslmode="disable")

    assert "no pg_hba.conf entry" in refused.stderr


def test_a_database_whose_authority_is_not_the_sites_gets_no_password(site: Site) -> None:
    """Debian's list of authorities has nothing to do with the site's."""
    authorities = "/etc/ssl/certs/ca-certificates.crt"
    refused = _login(site, host=site.with_service("postgres").name, sslmode="verify-full", sslrootcert=authorities)

    assert "certificate verify failed" in refused.stderr


def test_a_certificate_for_another_name_does_not_pass(site: Site) -> None:
    """The database's host by an address that its certificate does not have."""
    database = site.with_service("postgres")
    address = database.says("hostname -I").split()[0]
    believed = "/opt/orthanc/config/certificates/trusted.crt"
    refused = _login(site, host="impostor", hostaddr=address, sslmode="verify-full", sslrootcert=believed)

    assert 'does not match host name "impostor"' in refused.stderr


def _login(site: Site, **how: str) -> CommandResult:
    """Try from the router's host, with the right password."""
    secret = site.secrets["database"]
    words = "".join(f", {key}='{value}'" for key, value in how.items())
    login = f"user='pacsops', dbname='pacsops', password=sys.stdin.read(){words}"
    program = f"import psycopg2, sys; psycopg2.connect({login})"
    other = site.with_service("router").machine
    tried = other.run(f'printf %s {secret} | /opt/orthanc/venv/bin/python -c "{program}"')
    assert tried.rc != 0
    return tried
