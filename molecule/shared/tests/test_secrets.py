"""Passwords: in files that their owner alone reads, and nowhere else."""

from __future__ import annotations

from tests.support.deployed import Site, SiteHost


def test_no_file_with_a_password_can_be_read_by_everyone(host: SiteHost, site: Site) -> None:
    patterns = " ".join(f"-e {value}" for value in site.secrets.values())
    where = "/opt/orthanc /etc /var/log /tmp /var/tmp /run"
    found = host.machine.run(f"grep -rlsF --devices=skip --exclude-dir=venv --exclude-dir=docker {patterns} {where}")
    files = found.stdout.splitlines()
    assert "/opt/orthanc/.env" in files, "the search finds what there is"
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    assert [name for name in files if host.machine.run(f"{nobody} test -r {name}").rc == 0] == []


def test_no_process_shows_a_password_on_its_command_line(host: SiteHost, site: Site) -> None:
    assert site.secrets_in(host.says("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")) == []


def test_no_log_of_a_host_has_a_password(host: SiteHost, site: Site) -> None:
    logs = host.answers(
        systemd="journalctl --no-pager --output=cat",
        compose="journalctl --no-pager --output=cat;"
        " docker compose --file /opt/orthanc/compose.yml logs --no-color 2>&1",
    )
    assert site.secrets_in(logs) == []


def test_what_every_user_may_read_of_a_service_has_no_password(host: SiteHost, site: Site) -> None:
    shown = host.answers(
        systemd="systemctl cat 'pacsops*'; systemctl show 'pacsops*'",
        compose="cat /opt/orthanc/compose.yml",
    )
    assert site.secrets_in(shown) == []


def test_deploying_with_diff_printed_no_password(site: Site) -> None:
    printed = site.run_log.read_text() if site.run_log.exists() else ""
    assert site.secrets_in(printed) == []


def test_renewed_passwords_are_in_force_and_the_old_ones_nowhere(host: SiteHost, site: Site) -> None:
    """That the site works with the new ones is what the other tests tell. Backups stay readable: theirs is kept."""
    former = {name: value for name, value in site.former_secrets.items() if name != "backup"}
    assert former.keys() == site.secrets.keys() - {"backup"}
    assert set(former.values()).isdisjoint(site.secrets.values())
    patterns = " ".join(f"-e {value}" for value in former.values())
    found = host.machine.run(f"grep -rlsF --devices=skip --exclude-dir=docker {patterns} /opt/orthanc /etc /run")
    assert found.stdout == ""
