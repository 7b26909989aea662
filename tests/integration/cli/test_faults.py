"""`orthanc inject-fault`, `clear-faults` and `reset-db`: only where drills are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine, Site

from pacsops.delivery import desk
from pacsops.gateway import drills, faults


@pytest.fixture
def spool(cli: CommandLine, tmp_path: Path) -> Path:
    """Of a gateway that is for drills."""
    spool = tmp_path / "incoming"
    spool.mkdir()
    with cli.env_file.open("a") as env_file:
        env_file.write(f"GATEWAY_DRILLS=true\nGATEWAY_PORT=11112\nGATEWAY_SPOOL={spool}\n")
    return spool


def received(site: Site, spool: Path, study: str = "1.2.3") -> None:
    """A study of one image that a gateway took."""
    (spool / study).mkdir()
    (spool / study / f"{study}.4.dcm").write_bytes(b"")
    with site.database.transaction() as tx:
        tx.run(
            """
            INSERT INTO routing_study (source, study_id) VALUES ('gateway', %(study)s);
            INSERT INTO gateway_series (study_uid, series_uid) VALUES (%(study)s, 's');
            INSERT INTO gateway_assignment (study_uid, pool, turn, member) VALUES (%(study)s, 'AI', 1, 'AI-1');
            INSERT INTO gateway_instance (study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
                                          file, size, received_at, tags)
            VALUES (%(study)s, 's', 'i', 'c', 't', 'f', 1, now(), '{}');
            INSERT INTO routing_state (source, level, resource_id, route_name, destination, study_id, instances,
                                       content_fingerprint, route_version)
            VALUES ('gateway', 'study', %(study)s, 'r', 'PACS', %(study)s, '{1}', '', '');
            INSERT INTO routing_event (event, source, study_id, delivery_id)
            SELECT 'route_matched', 'gateway', study_id, id FROM routing_state WHERE source = 'gateway'
            """,
            study=study,
        )


def test_faults_come_and_go(cli: CommandLine, spool: Path) -> None:
    assert cli.json("inject-fault", "reject_all") == {"schema_version": 1, "faults": {"reject_all": True}}
    told = cli("inject-fault", "io_delay_ms", "200")
    assert "reject_all, io_delay_ms 200" in told.stdout
    assert "orthanc clear-faults" in told.stdout
    assert cli.json("clear-faults")["ended"] == {"reject_all": True, "io_delay_ms": 200}
    nothing = cli("clear-faults")
    assert (nothing.exit_code, "no fault is in force" in nothing.stderr) == (1, True)
    assert cli("inject-fault", "random_fail_rate", "2").exit_code == 2
    assert "1 at most" in cli("inject-fault", "random_fail_rate", "2").stderr
    assert cli("inject-fault", "reject_all", "1").exit_code == 2


def test_status_and_doctor_tell_that_it_fails_on_purpose(cli: CommandLine, spool: Path) -> None:
    assert "no fault is injected" in cli("doctor", "--only", "gateway-faults").stdout
    cli("inject-fault", "disk_full")
    for command in (("status",), ("doctor", "--only", "gateway-faults")):
        assert "fails on purpose: disk_full" in cli(*command).stdout
    assert '"faults": {' in cli("doctor", "--only", "gateway-faults", "--json").stdout


@pytest.mark.parametrize("command", [("inject-fault", "reject_all"), ("clear-faults",), ("reset-db", "--yes")])
def test_a_site_for_patients_takes_no_part(cli: CommandLine, site: Site, tmp_path: Path, command: tuple[str]) -> None:
    with cli.env_file.open("a") as env_file:
        env_file.write(f"GATEWAY_PORT=11112\nGATEWAY_SPOOL={tmp_path}\n")
    received(site, tmp_path)
    before = sorted(tmp_path.rglob("*"))

    refused = cli(*command)
    assert refused.exit_code == 2
    assert "does not allow drills" in refused.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert drills.holdings(site.database, tmp_path).studies == 1


def test_a_spool_that_cannot_be_written_is_an_error_with_a_hint(cli: CommandLine, spool: Path) -> None:
    spool.rmdir()
    refused = cli.json("inject-fault", "disk_full")
    assert refused["error"]["kind"] == "SpoolUnwritable"
    assert "GATEWAY_SPOOL" in refused["error"]["hint"]


def test_a_reset_takes_the_gateways_and_nothing_of_orthancs(cli: CommandLine, site: Site, spool: Path) -> None:
    kept = site.promise()
    received(site, spool)
    assert drills.next_number(site.database) == 1
    cli("inject-fault", "io_delay_ms")

    assert "Nobody can answer here" in cli("reset-db").stderr
    code, shown = cli.on_terminal("reset-db", answers="n\n")
    assert (code, "1 study with 1 image, 1 delivery and 1 file" in shown) == (1, True)
    assert drills.holdings(site.database, spool).files == 1

    assert cli.json("reset-db", "--yes")["removed"] == {"studies": 1, "images": 1, "deliveries": 1, "files": 1}
    assert not drills.holdings(site.database, spool)
    assert [each.name for each in spool.iterdir()] == [faults.FILE]
    assert drills.next_number(site.database) == 1
    assert [each.id for each in desk.deliveries(site.database)] == [kept.id]
    assert cli("reset-db", "--yes").exit_code == 0
