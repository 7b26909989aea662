"""Each check finds what it is there for: the site is well but for one thing."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.cli.conftest import ROUTES, CommandLine, Site
from tests.integration.doctor.conftest import backup_run, examined, orthanc_json, set_in
from tests.support.certificates import certified
from tests.support.deliveries import as_delivered
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer
from tests.support.studies import a_study

from pacsops.delivery import verification
from pacsops.delivery.versions import note_routes

# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_that_does_not_wait_for_the_disk_is_an_error(well: Site, cli: CommandLine) -> None:
    findings = examined(cli, "durability")

    assert findings.of("durability", "fsync")["severity"] == "error"
    assert findings.of("durability", "fsync")["evidence"]["synchronous_commit"] == "on"


def test_a_database_that_may_forget_its_last_commits_is_a_warning(well: Site, cli: CommandLine) -> None:
    with PostgresServer(fsync=True) as durable:
        settings = durable.create_database()
        set_in(cli, POSTGRES_PORT=settings.postgres_port, POSTGRES_DB=settings.postgres_db)
        assert examined(cli, "durability").ill == set()

        with psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            dbname=settings.postgres_db,
            user=settings.postgres_user,
        ) as connection:
            connection.cursor().execute(f"ALTER DATABASE {settings.postgres_db} SET synchronous_commit = off")
        connection.close()
        assert examined(cli, "durability").ill == {("durability", "warning")}


def test_a_database_short_of_connections_is_told_before_it_has_none(well: Site, cli: CommandLine) -> None:
    settings = well.settings
    assert examined(cli, "connections").ill == set()
    with ExitStack() as held:
        for _ in range(160):
            connection = psycopg2.connect(
                host=settings.postgres_host,
                port=settings.postgres_port,
                dbname=settings.postgres_db,
                user=settings.postgres_user,
            )
            held.callback(connection.close)
        found = examined(cli, "connections").of("connections")

    assert found["severity"] == "warning"
    assert found["evidence"]["used"] >= 160
    assert "database_max_connections" in found["recommendation"]


def test_a_database_of_another_version_says_how_to_migrate(well: Site, cli: CommandLine) -> None:
    with well.database.transaction() as tx:
        tx.run("DELETE FROM schema_migration")
    findings = examined(cli, "schema", "stuck")

    assert findings.of("schema")["severity"] == "error"
    assert "orthanc db-migrate" in findings.of("schema")["recommendation"]
    assert findings.of("stuck")["seen"] is False


# ── storage ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_storage_that_cannot_be_written_is_an_error(well: Site, cli: CommandLine, tmp_path: Path) -> None:
    """A file system that takes no more: the process may write no byte to any file."""
    (tmp_path / "dicom").mkdir()
    set_in(cli, DICOM_STORAGE_PATH=tmp_path / "dicom")
    assert "is writable" in examined(cli, "storage-writable").of("storage-writable")["message"]

    def nothing_may_be_written() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = subprocess.run(
        [sys.executable, "-m", "pacsops.cli.main", "doctor", "--only", "storage-writable"],
        env={**os.environ, "ORTHANC_ENV": str(cli.env_file)},
        preexec_fn=nothing_may_be_written,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "DICOM storage cannot be written" in done.stdout
    assert list((tmp_path / "dicom").iterdir()) == []


def test_storage_whose_disk_is_not_mounted_is_an_error(
    well: Site, cli: CommandLine, orthanc: OrthancServer, tmp_path: Path
) -> None:
    (tmp_path / "dicom" / "3f").mkdir(parents=True)
    set_in(cli, DICOM_STORAGE_PATH=tmp_path / "dicom")
    a_study().with_series("CT", instances=2).in_(orthanc)
    assert examined(cli, "storage-writable").ill == set()

    (tmp_path / "dicom" / "3f").rmdir()
    found = examined(cli, "storage-writable").of("storage-writable", "mount")
    assert found["severity"] == "error"
    assert "Orthanc counts 2 images" in found["message"]
    assert "stop Orthanc" in found["recommendation"]


def test_storage_on_another_host_is_no_finding(well: Site, cli: CommandLine, tmp_path: Path) -> None:
    set_in(cli, DICOM_STORAGE_PATH=tmp_path / "elsewhere")

    assert examined(cli, "storage-writable", "storage-runway").ill == set()


def test_the_runway_follows_from_what_came_in(well: Site, cli: CommandLine, orthanc: OrthancServer) -> None:
    a_study().with_series("CT", instances=4).in_(orthanc)
    each = orthanc.client.statistics().disk_bytes / 4
    free = shutil.disk_usage(well.settings.dicom_storage_path).free
    # As many images in ten hours that the disk is full in as many hours as are asked for.
    for hours, severity in ((100, "ok"), (48, "warning"), (5, "error")):
        with well.database.transaction() as tx:
            tx.run("DELETE FROM routing_study")
            tx.run(
                "INSERT INTO routing_study (study_id, instance_count, first_seen_at)"
                " VALUES ('a', %(count)s, now() - interval '10 hours')",
                count=min(2_000_000_000, round(10 * free / each / hours)),
            )
        found = examined(cli, "storage-runway").of("storage-runway")
        assert found["severity"] == severity
        assert found["evidence"]["measured_hours"] == 10
        assert found["evidence"]["hours"] == pytest.approx(hours, rel=0.2)


def test_the_runway_of_a_site_that_receives_nothing_is_not_known_and_not_invented(
    well: Site, cli: CommandLine
) -> None:
    found = examined(cli, "storage-runway").of("storage-runway")

    assert (found["severity"], found["evidence"]["hours"]) == ("ok", None)
    assert "not known" in found["message"]


# ── Orthanc ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "value", "severity"),
    [
        ("OverwriteInstances", True, "warning"),
        ("StableAge", 3600, "warning"),
        ("StorageCompression", True, "warning"),
        ("SaveJobs", None, "warning"),  # Orthanc's default
        ("JobsHistorySize", None, "warning"),
        ("ConcurrentJobs", 2, "warning"),
        ("DicomModalitiesInDatabase", None, "error"),
        ("DatabaseServerIdentifier", None, "warning"),
        ("IngestTranscoding", "1.2.840.10008.1.2.4.50", "error"),
        ("PostgreSQL", {"EnableStorage": True}, "warning"),
    ],
)
def test_a_setting_that_loses_images_or_deliveries_is_told(
    well: Site, cli: CommandLine, home: Path, setting: str, value: Any, severity: str
) -> None:
    assert examined(cli, "orthanc-settings").ill == set()
    orthanc_json(home, **{setting: value})
    findings = examined(cli, "orthanc-settings")

    [found] = [one for one in findings if one["severity"] != "ok"]
    assert found["severity"] == severity
    assert found["subject"].startswith(setting)
    assert setting in found["recommendation"]


def test_an_orthanc_that_deletes_studies_when_it_is_full_is_an_error(
    well: Site, cli: CommandLine, home: Path
) -> None:
    orthanc_json(home, MaximumStorageSize=1000)
    found = examined(cli, "orthanc-settings").of("orthanc-settings", "MaximumStorageMode")
    assert found["severity"] == "error"

    orthanc_json(home, MaximumStorageSize=1000, MaximumStorageMode="Reject")
    assert examined(cli, "orthanc-settings").ill == {("orthanc-settings", "warning")}


def test_a_configuration_may_have_comments_and_one_that_is_not_here_is_told(
    well: Site, cli: CommandLine, home: Path
) -> None:
    file = home / "config" / "orthanc" / "orthanc.json"
    file.write_text(
        "// as delivered\n" + file.read_text().replace("{", '{ /* "OverwriteInstances": true, */ "Name": "a//b", ', 1)
    )
    assert examined(cli, "orthanc-settings").ill == set()

    file.unlink()
    found = examined(cli, "orthanc-settings").of("orthanc-settings", "orthanc.json")
    assert found["seen"] is False
    assert str(file) in found["message"]


# ── routing ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rejected_routes_file_is_told_with_its_problems(well: Site, cli: CommandLine) -> None:
    problem = {"line": 1, "message": "nonsense"}
    note_routes(well.database, hash_="1" * 64, text="routes: nonsense", accepted=False, problems=[problem])
    found = examined(cli, "routes").of("routes", "rejected")

    assert found["severity"] == "warning"
    assert found["evidence"]["problems"] == [problem]


def test_a_routes_file_that_no_router_has_taken_is_told(well: Site, cli: CommandLine) -> None:
    well.settings.routes_file.write_text(ROUTES.replace("Leg Length", "Bone Age"))
    assert examined(cli, "routes").ill == set(), "the router has had no time for it yet"

    hour_ago = datetime.now(UTC).timestamp() - 3600
    os.utime(well.settings.routes_file, (hour_ago, hour_ago))
    assert "is not what is in force" in examined(cli, "routes").of("routes", "file")["message"]


def test_a_route_behind_a_final_one_and_a_route_nobody_uses_are_told(well: Site, cli: CommandLine) -> None:
    final = "  - name: everything\n    match: {}\n    action: {to: MODLINK}\n    final: true\n    priority: 1\n"
    final = final.replace("match: {}", 'match: {modality: {equals: "SR"}}')
    well.routes_in_force(ROUTES.replace("routes:\n", f"routes:\n{final}"))
    findings = examined(cli, "routes-shadowed", "routes-unused")

    hidden = findings.of("routes-shadowed", "results_to_modlink")
    assert (hidden["severity"], hidden["evidence"]["by"]) == ("warning", "everything")
    assert findings.of("routes-unused")["severity"] == "ok", "they are in force since a moment ago"


def test_a_route_that_matched_nothing_for_a_month_is_told(well: Site, cli: CommandLine) -> None:
    well.promise(route="bone_length_to_ai")
    with well.database.transaction() as tx:
        tx.run("UPDATE routes_version SET loaded_at = now() - interval '31 days'")
    findings = examined(cli, "routes-unused")

    assert [one["subject"] for one in findings if one["severity"] == "warning"] == ["results_to_modlink"]


def test_what_waits_for_long_is_told(well: Site, cli: CommandLine) -> None:
    delivery = well.promise()
    assert examined(cli, "waiting").ill == set()
    for hours, severity in ((2, "warning"), (30, "error")):
        with well.database.transaction() as tx:
            tx.run(
                "UPDATE routing_state SET open_since = now() - %(hours)s * interval '1 hour' WHERE id = %(id)s",
                hours=hours,
                id=delivery.id,
            )
        assert examined(cli, "waiting").ill == {("waiting", severity)}


def test_what_its_route_wanted_done_by_now_is_overdue(well: Site, cli: CommandLine) -> None:
    delivery = well.promise()
    assert examined(cli, "overdue").ill == set()
    with well.database.transaction() as tx:
        tx.run(
            "UPDATE routing_state SET deliver_within = 1200, open_since = now() - interval '30 minutes'"
            " WHERE id = %(id)s",
            id=delivery.id,
        )
    found = examined(cli, "overdue").of("overdue")

    assert found["severity"] == "warning"
    assert "the longest by 10m: bone_length_to_ai to MERCURE within 20m" in found["message"]
    assert found["evidence"]["deliveries"] == 1


def test_a_destination_that_cannot_be_asked_what_it_has_is_told(well: Site, cli: CommandLine) -> None:
    verification.set_verification(well.database, "MERCURE", verification.Method.FIND)
    delivery = well.succeed(well.promise())
    assert examined(cli, "unverified").ill == set()
    verification.no_answer(well.database, as_delivered(well.database, delivery.id), "it does not offer C-FIND")

    assert "it does not offer C-FIND" in examined(cli, "unverified").of("unverified", "MERCURE")["message"]


# ── clock, certificates, settings ────────────────────────────────────────────────────────────────────────────


@contextmanager
def an_orthanc_whose_clock_says(at: datetime) -> Iterator[str]:
    """A host's clock cannot be set by a test: something that answers like Orthanc on a host whose clock is wrong."""

    class Clock(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = f"{at:%Y%m%dT%H%M%S}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Clock)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_clocks_that_agree_are_well_and_one_that_is_off_is_told(well: Site, cli: CommandLine) -> None:
    findings = examined(cli, "clock")
    assert findings.ill == set()
    assert {one["subject"] for one in findings} == {"Orthanc", "PostgreSQL"}

    for off, severity in ((timedelta(minutes=1), "warning"), (timedelta(hours=-1), "error")):
        with an_orthanc_whose_clock_says(datetime.now(UTC) + off) as url:
            set_in(cli, ORTHANC_URL=url)
            found = examined(cli, "clock").of("clock", "Orthanc")
        assert found["severity"] == severity
        assert found["evidence"]["offset_seconds"] == pytest.approx(off.total_seconds(), abs=5)


def test_certificates_are_told_before_they_end(
    well: Site, cli: CommandLine, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = home / "config" / "certificates"
    folder.mkdir()
    made = certified(tmp_path_factory.mktemp("authority"), "viewer")
    shutil.copy(made.certificate, folder / "viewer.crt")
    assert examined(cli, "certificates").of("certificates", "viewer")["severity"] == "ok"

    for days, name, severity in ((10, "soon", "warning"), (-1, "past", "error")):
        lasting_for = [sys.executable, "-c", _SELF_SIGNED, str(folder / f"{name}.crt"), str(days)]
        subprocess.run(lasting_for, check=True, timeout=60)
        assert examined(cli, "certificates").of("certificates", name)["severity"] == severity

    (folder / "broken.crt").write_text("no certificate")
    assert examined(cli, "certificates").of("certificates", "broken")["seen"] is False


_SELF_SIGNED = """
import sys, pathlib
from datetime import datetime, timedelta, UTC
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "viewer")])
ends = datetime.now(UTC) + timedelta(days=int(sys.argv[2]))
made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(ends - timedelta(days=90)).not_valid_after(ends).sign(key, hashes.SHA256()))
pathlib.Path(sys.argv[1]).write_bytes(made.public_bytes(serialization.Encoding.PEM))
"""


def test_passwords_that_every_user_can_read_are_told(well: Site, cli: CommandLine) -> None:
    assert examined(cli, "settings").ill == set()
    cli.env_file.chmod(0o644)

    assert examined(cli, "settings").ill == {("settings", "warning")}


# ── backup ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_site_that_was_never_backed_up_is_told(well: Site, cli: CommandLine) -> None:
    with well.database.transaction() as tx:
        tx.run("DELETE FROM backup_run")
    findings = examined(cli, "backup", "restore-verified")
    assert findings.ill == {("backup", "warning"), ("restore-verified", "warning")}

    with well.database.transaction() as tx:
        tx.run("DROP TABLE backup_run")
    assert "No backup was ever made" in examined(cli, "backup").of("backup")["message"]


@pytest.mark.parametrize(("days", "severity"), [(1, None), (3, "warning"), (8, "error")])
def test_an_old_backup_is_told(well: Site, cli: CommandLine, days: int, severity: str | None) -> None:
    with well.database.transaction() as tx:
        tx.run("DELETE FROM backup_run")
    backup_run(well, "backup", days_ago=days)

    assert examined(cli, "backup").ill == ({("backup", severity)} if severity else set())


def test_a_backup_or_trial_restore_that_failed_is_an_error_though_an_older_one_went_well(
    well: Site, cli: CommandLine
) -> None:
    for kind, check in (("backup", "backup"), ("verify", "restore-verified")):
        backup_run(well, kind, ok=False)
        findings = examined(cli, check)
        assert findings.of(check, "last")["severity"] == "error"
        assert len(findings) == 2
