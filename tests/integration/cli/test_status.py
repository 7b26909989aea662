"""One look at a site in good and bad health."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.integration.cli.conftest import ROUTES, CommandLine, Site
from tests.support.deliveries import as_delivered
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.postgres import PostgresServer
from tests.support.studies import a_study

from pacsops.delivery import nightly, verification
from pacsops.delivery.versions import note_routes


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """A command line whose Orthanc and PostgreSQL do not listen and whose routes.yml is not there."""
    (tmp_path / ".env").write_text(
        f"ORTHANC_URL=http://127.0.0.1:{free_port()}\n"
        f"POSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={free_port()}\nPOSTGRES_PASSWORD=none\n"
        f"ROUTES_FILE={tmp_path / 'routes.yml'}\n"
    )
    return CommandLine(tmp_path / ".env")


def test_a_healthy_site_exits_with_0_and_quiet_prints_nothing(healthy: Site, cli: CommandLine) -> None:
    healthy.succeed(healthy.promise())
    result = cli("status")

    assert result.exit_code == 0, result.stdout
    for words in (
        "orthanc",
        "postgres",
        "router",
        "✅ running",
        "All is well.",
        "2 routes",
        "MERCURE",
        "last success",
    ):
        assert words in result.stdout
    quiet = cli("status", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_status_as_json_keeps_its_contract(healthy: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    a_study().with_series("CT", instances=2).in_(orthanc)
    answer = cli.json("status")

    assert answer.keys() >= {"services", "storage", "routing", "destinations", "routes", "issues", "exit_code"}
    assert {name: service["state"] for name, service in answer["services"].items()} == {
        "orthanc": "running",
        "postgres": "running",
        "router": "running",
    }
    assert (answer["storage"]["studies"], answer["storage"]["instances"]) == (1, 2)
    assert [destination["name"] for destination in answer["destinations"]] == ["MERCURE", "MODLINK"]
    assert answer["routes"]["count"] == 2
    assert answer["exit_code"] == 0


def test_stuck_studies_are_a_warning_that_names_the_next_command(healthy: Site, cli: CommandLine) -> None:
    healthy.refused()
    result = cli("status", "--quiet")

    assert result.exit_code == 1
    assert "1 study needs attention" in result.stdout
    assert "orthanc show-stuck" in result.stdout


def test_a_destination_that_is_down_is_an_error(healthy: Site, cli: CommandLine) -> None:
    healthy.stuck()
    result = cli("status")

    assert result.exit_code == 2
    assert "MERCURE is down since" in result.stdout
    assert "orthanc test-destination MERCURE" in result.stdout


def test_a_rejected_routes_file_is_a_warning_and_the_old_one_stays(healthy: Site, cli: CommandLine) -> None:
    note_routes(healthy.database, hash_="1" * 64, text="routes: nonsense", accepted=False, problems=[{"line": 1}])
    result = cli("status")

    assert result.exit_code == 1
    assert "was rejected (1 problem); the one before stays in force" in result.stdout
    assert "2 routes" in result.stdout


def test_a_route_to_a_destination_orthanc_lacks_is_a_warning(healthy: Site, cli: CommandLine) -> None:
    healthy.routes_in_force(ROUTES.replace("MODLINK", "MODLNIK"))
    result = cli("status", "--quiet")

    assert result.exit_code == 1
    assert "unknown destination 'MODLNIK'" in result.stdout


def test_an_open_delivery_to_a_removed_destination_is_a_warning(healthy: Site, cli: CommandLine) -> None:
    healthy.promise(to="REMOVED", route="no_longer")
    result = cli("status", "--quiet")

    assert result.exit_code == 1
    assert "Orthanc does not know REMOVED; 1 delivery waits" in result.stdout
    assert "orthanc add-destination --name REMOVED" in result.stdout


def test_a_router_in_trouble_or_silent_is_told(healthy: Site, cli: CommandLine) -> None:
    healthy.router_is_alive(trouble={"feed": "cannot reach Orthanc"})
    assert "duty 'feed': cannot reach Orthanc" in cli("status", "--quiet").stdout

    with healthy.database.transaction() as tx:
        tx.run("UPDATE router_heartbeat SET beat_at = now() - interval '10 minutes'")
    silent = cli("status", "--quiet")
    assert silent.exit_code == 2
    assert "last sign of life 10m ago" in silent.stdout


def test_without_orthanc_the_rest_is_still_shown(site: Site, cli: CommandLine) -> None:
    site.routes_in_force()
    site.router_is_alive()
    site.stuck()
    result = cli("status")

    assert result.exit_code == 2
    assert "❌ down" in result.stdout
    assert "Nothing is received or sent" in result.stdout
    for words in ("postgres", "ROUTING", "MERCURE", "2 routes", "1 study needs attention"):
        assert words in result.stdout


def test_without_postgres_the_rest_is_still_shown(
    healthy: Site, orthanc: OrthancServer, postgres: PostgresServer, cli: CommandLine
) -> None:
    a_study().with_series("CT").in_(orthanc)
    healthy.database.close()
    postgres.stop()
    result = cli("status")

    assert result.exit_code == 2
    assert "Nothing is routed" in result.stdout
    for words in ("✅ running", "1 study", "MERCURE", "2 routes"):
        assert words in result.stdout
    assert "unused" not in result.stdout
    assert "not known without PostgreSQL" in result.stdout
    assert {row["state"] for row in cli.json("destinations")["destinations"]} <= {"unknown", "not configured"}
    assert cli("destinations").exit_code == 1
    error = cli("show-stuck")
    assert (error.exit_code, error.stdout) == (2, "")
    assert error.stderr.startswith("Error: cannot reach PostgreSQL")


READING = (
    ["status"],
    ["metrics"],
    ["destinations"],
    ["test-destination", "MODLINK"],
    ["routes"],
    ["routes", "--validate"],
    ["routes", "explain", "ACC-1"],
    ["route-status"],
    ["show-stuck"],
    ["show-pending"],
    ["history", "ACC-1"],
    ["version"],
)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_json_is_an_object_with_its_version_whatever_is_down(nowhere: CommandLine, command: list[str]) -> None:
    assert nowhere.json(*command)


def test_an_error_as_json_says_what_happened_and_what_to_do(site: Site, cli: CommandLine) -> None:
    answer = cli.json("history", "NO-SUCH-STUDY")

    assert answer["error"]["kind"] == "UnknownStudy"
    assert "NO-SUCH-STUDY" in answer["error"]["message"]
    assert answer["error"]["hint"]
    assert answer["exit_code"] == cli("history", "NO-SUCH-STUDY", "--json").exit_code == 2


def test_a_refused_login_is_not_mistaken_for_a_server_that_is_down(
    healthy: Site, cli: CommandLine, tmp_path: Path
) -> None:
    lines = cli.env_file.read_text().splitlines()
    wrong = [
        f"{line.partition('=')[0]}=wrong" if line.startswith(("ORTHANC_PASSWORD", "POSTGRES_DB")) else line
        for line in lines
    ]
    (tmp_path / "wrong.env").write_text("\n".join(wrong) + "\n")
    services = CommandLine(tmp_path / "wrong.env").json("status")["services"]

    assert (services["orthanc"]["state"], services["postgres"]["state"]) == ("refused", "refused")


def test_a_database_that_is_not_migrated_says_how_to(postgres: PostgresServer, cli: CommandLine) -> None:
    cli.env_file.write_text(cli.env_file.read_text() + f"POSTGRES_DB={postgres.create_database().postgres_db}\n")
    for command in ("show-stuck", "status"):
        result = cli(command)
        assert result.exit_code == 2
        assert "orthanc db-migrate" in result.output

    assert cli.json("db-migrate")["applied"][0] == "0001_routing"
    assert cli.json("db-migrate")["applied"] == []
    assert cli("show-stuck").exit_code == 0


def test_versions_of_everything_that_answers(healthy: Site, postgres: PostgresServer, cli: CommandLine) -> None:
    answer = cli.json("version")
    assert all(answer[name] for name in ("pacsops", "orthanc", "postgres"))
    assert answer["schema"] == "current"

    healthy.database.close()
    postgres.stop()
    result = cli("version")
    assert result.exit_code == 0
    assert "does not answer" in result.stdout


def test_no_password_is_ever_shown(healthy: Site, cli: CommandLine) -> None:
    password = healthy.settings.orthanc_password
    assert password
    for command in (["status", "--json"], ["status"], ["version"], ["destinations", "--json"]):
        assert password not in cli(*command).output


def test_watching_shows_what_changed_and_ends_with_the_last_exit_code(healthy: Site, cli: CommandLine) -> None:
    with cli.on_screen("status", "--watch", "--interval", "0.5") as watched:
        watched.shows("All is well.")
        healthy.refused()
        watched.shows("1 study needs attention")

        assert watched.interrupted() == 1


def test_watching_goes_on_while_orthanc_is_away(healthy: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    with cli.on_screen("status", "--watch", "--quiet", "--interval", "0.5") as watched:
        watched.shows("All is well.")
        orthanc.stop()
        watched.shows("cannot reach Orthanc")
        orthanc.start()
        watched.shows("All is well.")

        assert watched.interrupted() == 0


def test_a_terminal_too_low_for_the_page_still_shows_the_issues(healthy: Site, cli: CommandLine) -> None:
    healthy.refused()
    with cli.on_screen("status", "--watch", "--interval", "0.5", LINES="14") as watched:
        watched.shows("1 study needs attention")
        watched.shows("ORTHANC STATUS")

        assert watched.interrupted() == 1


def test_watching_needs_a_terminal_and_is_not_for_json(healthy: Site, cli: CommandLine) -> None:
    piped = cli.piped("status", "--watch")

    assert (piped.returncode, piped.stdout) == (2, "")
    assert "--watch needs a terminal" in piped.stderr
    assert cli("status", "--watch", "--json").exit_code == 2


def test_the_last_nightly_reconciliation_has_its_line(healthy: Site, cli: CommandLine) -> None:
    assert cli.json("status")["reconciled"] is None
    night = date(2026, 2, 3)
    assert nightly.claim(healthy.database, night, "host:1")
    numbers = {"scanned": 412, "planned": 1, "asked": 380, "lacking": 2, "images": 7, "unanswered": 0, "requested": 0}
    assert nightly.finish(healthy.database, night, "host:1", {**numbers, "seconds": 31, "destinations": []})

    shown = cli("status").stdout

    assert "412 studies compared, 380 deliveries asked about, 3 mended" in shown
    assert cli.json("status")["reconciled"]["result"]["lacking"] == 2


def test_deliveries_that_could_not_be_verified_are_a_warning_with_the_reason(healthy: Site, cli: CommandLine) -> None:
    verification.set_verification(healthy.database, "MERCURE", verification.Method.FIND)
    delivery = healthy.succeed(healthy.promise())
    seen = as_delivered(healthy.database, delivery.id)
    verification.no_answer(healthy.database, seen, "MERCURE cannot be asked what it has: it does not offer C-FIND")

    result = cli("status", "--quiet")

    assert result.exit_code == 1
    assert "1 delivery to MERCURE could not be verified" in result.stdout
    assert "orthanc reconcile --destination MERCURE" in result.stdout
    assert "not verified: MERCURE cannot be asked" in cli("history", delivery.study_id).stdout
