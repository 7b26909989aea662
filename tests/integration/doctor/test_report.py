"""What `orthanc doctor` prints and exits with, of a site that is well and of one that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.integration.cli.conftest import CommandLine, Site
from tests.integration.doctor.conftest import examined
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.postgres import PostgresServer

from pacsops.doctor import CHECKS, Section

# No host here has a gateway: its checks have nothing to say.
SPEAKING = {check.id for check in CHECKS if not check.id.startswith("gateway")}
# The tests' PostgreSQL does without the disk.
DURABLE = [check.id for check in CHECKS if check.id != "durability"]
ONLY_DURABLE = [word for check in DURABLE for word in ("--only", check)]


def test_a_site_that_is_well_exits_with_0_and_every_section_says_so(well: Site, cli: CommandLine) -> None:
    result = cli("doctor", *ONLY_DURABLE)

    assert result.exit_code == 0, result.stdout
    assert "SUMMARY: 0 warnings, 0 errors" in result.stdout
    assert "All is well." in result.stdout
    headings = [line for line in result.stdout.splitlines() if line.isupper() and line.isalpha()]
    assert headings == [section.value for section in Section if section.value in headings]
    for words in ("MERCURE (127.0.0.1:", "C-ECHO response: ", "the DICOM port is open", "2 routes in force"):
        assert words in result.stdout
    quiet = cli("doctor", "--quiet", *ONLY_DURABLE)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_an_issue_comes_with_its_recommendation_and_errors_come_first(well: Site, cli: CommandLine) -> None:
    well.refused("a study")
    with well.database.transaction() as tx:
        tx.run("UPDATE router_heartbeat SET beat_at = now() - interval '10 minutes'")
    result = cli("doctor", "--only", "stuck,router")

    assert result.exit_code == 2
    assert "SUMMARY: 1 warning, 1 error" in result.stdout
    recommendations = result.stdout.split("RECOMMENDATIONS:")[1]
    assert re.search(r"1\. router: .+\n +2\. stuck: `orthanc failures`", recommendations)


def test_json_has_an_entry_a_finding_with_what_scripts_need(well: Site, cli: CommandLine) -> None:
    answer = cli.json("doctor")

    assert {entry["id"] for entry in answer["checks"]} == SPEAKING
    assert all(
        entry.keys() >= {"id", "section", "severity", "message", "evidence", "recommendation", "subject", "fix"}
        for entry in answer["checks"]
    )
    assert all(entry["recommendation"] for entry in answer["checks"] if entry["severity"] != "ok")
    assert answer["summary"]["errors"] == 1
    assert answer["exit_code"] == 2
    assert answer["seconds"].keys() == {check.id for check in CHECKS}


def test_nagios_gets_one_line_with_figures_and_its_own_exit_codes(
    well: Site, cli: CommandLine, tmp_path: Path
) -> None:
    fine = cli("doctor", "--nagios", *ONLY_DURABLE)
    assert fine.exit_code == 0
    assert re.fullmatch(r"PACSOPS OK - 0 errors, 0 warnings \| errors=0 warnings=0 .+\n", fine.stdout)
    for figure in (r"free=\d+B", r"stuck=0\b", r"echo_MERCURE=[\d.]+s", r"connections=\d+", r"pending=0\b"):
        assert re.search(figure, fine.stdout)

    well.refused("a study")
    assert cli("doctor", "--nagios", *ONLY_DURABLE).exit_code == 1
    critical = cli("doctor", "--nagios")
    assert critical.exit_code == 2
    assert critical.stdout.startswith("PACSOPS CRITICAL - 1 error, 1 warning; PostgreSQL runs with fsync off")
    assert critical.stdout.count("|") == 1
    nobody = CommandLine(tmp_path / "absent")("doctor", "--nagios")
    assert nobody.exit_code == 3
    assert nobody.stdout.startswith("PACSOPS UNKNOWN - ")


def test_checks_can_be_listed_and_chosen_without_a_site(tmp_path: Path) -> None:
    nowhere = CommandLine(tmp_path / "absent")

    listed = nowhere.json("doctor", "--list-checks")["checks"]
    assert [each["id"] for each in listed] == [check.id for check in CHECKS]
    assert all(each["looks_at"] and each["limit_seconds"] > 0 for each in listed)
    assert "destination-echo" in nowhere("doctor", "--list-checks").stdout
    unknown = nowhere("doctor", "--only", "destinationecho")
    assert unknown.exit_code == 2
    assert "--list-checks" in unknown.stderr


def test_without_settings_one_error_says_so_and_no_check_pretends(tmp_path: Path) -> None:
    result = CommandLine(tmp_path / "absent")("doctor")

    assert result.exit_code == 2
    assert "there is no settings file" in result.stdout
    assert f"SUMMARY: 0 warnings, 1 error, {len(CHECKS) - 1} checks could not look" in result.stdout


def test_with_nothing_running_every_check_says_what_it_could_not_see(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        f"ORTHANC_URL=http://127.0.0.1:{free_port()}\nORTHANC_DICOM_PORT={free_port()}\n"
        f"POSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={free_port()}\n"
    )
    findings = examined(CommandLine(env_file))

    assert {one["id"] for one in findings} == SPEAKING
    for check in ("orthanc", "dicom-port", "database", "routes"):
        assert findings.of(check)["severity"] == "error"
    for check, reason in (
        ("stuck", "cannot reach PostgreSQL"),
        ("backup", "cannot reach PostgreSQL"),
        ("destination-echo", "cannot reach Orthanc"),
        ("orthanc-settings", "cannot reach Orthanc"),
        ("routes-shadowed", "routes.yml"),
    ):
        assert findings.of(check)["seen"] is False
        assert reason in findings.of(check)["message"]


def test_without_postgres_the_destinations_are_still_asked(
    well: Site, cli: CommandLine, postgres: PostgresServer
) -> None:
    well.database.close()
    postgres.stop()
    findings = examined(cli)

    assert findings.of("database")["severity"] == "error"
    assert findings.of("destination-echo", "MODLINK")["severity"] == "ok"
    assert findings.of("stuck")["seen"] is False


def test_without_orthanc_what_postgres_knows_is_still_told(
    well: Site, cli: CommandLine, orthanc: OrthancServer
) -> None:
    orthanc.stop()
    well.refused("a study")
    findings = examined(cli)

    assert (findings.of("orthanc")["severity"], findings.of("stuck")["severity"]) == ("error", "warning")
    assert findings.of("destination-echo")["seen"] is False


def test_an_orthanc_that_is_silent_costs_seconds_not_the_report(
    well: Site, cli: CommandLine, orthanc: OrthancServer
) -> None:
    orthanc.pause()
    findings = examined(cli)

    assert findings.of("orthanc")["severity"] == "error"
    assert "did not answer" in findings.of("orthanc")["message"]
    assert findings.of("stuck")["severity"] == "ok"


def test_a_refused_login_is_told_apart_from_a_service_that_is_down(
    well: Site, cli: CommandLine, tmp_path: Path
) -> None:
    said = re.sub(r"(?m)^(ORTHANC_PASSWORD|POSTGRES_DB)=.*$", r"\1=wrong", cli.env_file.read_text())
    (tmp_path / "wrong.env").write_text(said)
    findings = examined(CommandLine(tmp_path / "wrong.env"))

    assert findings.of("orthanc")["evidence"]["state"] == "refused"
    assert findings.of("database")["evidence"]["state"] == "refused"
    assert "RegisteredUsers" in findings.of("orthanc")["recommendation"]


def test_no_password_is_ever_shown(well: Site, cli: CommandLine) -> None:
    password = well.settings.orthanc_password
    for arguments in (["--json"], [], ["--nagios"]):
        assert password not in cli("doctor", *arguments).output


def test_nothing_is_changed_without_fix(well: Site, cli: CommandLine, home: Path) -> None:
    stuck = well.stuck()
    (home / "logs").rmdir()
    well.settings.routes_file.unlink()
    before = set(home.rglob("*"))
    cli("doctor")

    assert set(home.rglob("*")) == before
    assert well.delivery(stuck.id).status == "stuck"


def test_off_a_terminal_a_fix_needs_yes(well: Site, cli: CommandLine, home: Path) -> None:
    (home / "logs").rmdir()
    refused = cli.piped("doctor", "--fix", "--only", "folders")

    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert not (home / "logs").exists()


def test_fix_asks_on_a_terminal_says_what_it_did_and_looks_again(well: Site, cli: CommandLine, home: Path) -> None:
    (home / "logs").rmdir()
    code, shown = cli.on_terminal("doctor", "--fix", "--only", "folders", answers="y\n")

    assert code == 0, shown
    assert "1 repair can be made" in shown
    assert "made " in shown
    assert "SUMMARY: 0 warnings, 0 errors" in shown
    assert (home / "logs").is_dir()


def test_fix_tries_again_what_is_stuck_over_a_destination_that_answers_now(well: Site, cli: CommandLine) -> None:
    away, poisonous = well.stuck("a study"), well.refused("another", to="MODLINK", route="results_to_modlink")
    answer = json.loads(cli("doctor", "--fix", "--yes", "--json", "--only", "stuck-by-outage").stdout)

    assert answer["fixed"] == ["1 delivery to MERCURE will be tried again"]
    assert answer["exit_code"] == 0
    assert well.delivery(away.id).status == "pending"
    assert well.delivery(poisonous.id).status == "stuck", "what its destination refused is for a person"


def test_fix_leaves_alone_what_is_stuck_over_a_destination_still_away(
    well: Site, cli: CommandLine, orthanc: OrthancServer
) -> None:
    stuck = well.stuck()
    with Peer("GONE") as gone:
        pass
    ensure_at = orthanc.client.get("/modalities/MERCURE/configuration")
    orthanc.client.put("/modalities/MERCURE", {**ensure_at, "Port": gone.port})
    result = cli("doctor", "--fix", "--yes", "--only", "stuck-by-outage")

    assert result.exit_code == 1
    assert "nothing that could be repaired" in result.stderr
    assert well.delivery(stuck.id).status == "stuck"


def test_fix_writes_a_lost_routes_file_back_and_never_over_another(well: Site, cli: CommandLine) -> None:
    file = well.settings.routes_file
    in_force = file.read_text()
    file.unlink()
    assert cli("doctor", "--only", "routes").exit_code == 1
    assert cli("doctor", "--fix", "--yes", "--only", "routes").exit_code == 0
    assert file.read_text() == in_force

    file.write_text("routes: []  # an operator's own\n")
    cli("doctor", "--fix", "--yes", "--only", "routes")
    assert "an operator's own" in file.read_text()
    assert [path.name for path in file.parent.glob(".routes*")] == []
