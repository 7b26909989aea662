"""Adding, testing and removing destinations of a real Orthanc."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import BlackHole, Peer

from pacsops.delivery import desk
from pacsops.orthanc import Modality, all_modalities, ensure


def add(peer: Peer, *more: str) -> list[str]:
    where = ["--aet", peer.aet, "--host", "127.0.0.1", "--port", str(peer.port)]
    return ["add-destination", "--name", "MODLINK", *where, *more]


def test_a_destination_is_tested_and_added_by_flags_alone(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    with Peer("MODLINK_AE") as peer:
        result = cli(*add(peer, "--concurrency", "4", "--yes"))

        assert result.exit_code == 0, result.output
        assert peer.echoes == 1
    added = all_modalities(orthanc.client)["MODLINK"]
    assert (added.aet, added.host, added.port) == ("MODLINK_AE", "127.0.0.1", peer.port)
    assert (added.allow_echo, added.allow_store, added.allow_find) == (True, False, False)
    assert desk.destination_health(site.database)["MODLINK"].max_concurrency == 4
    assert "added successfully" in result.stdout


def test_what_a_destination_may_ask_for_is_given_on_purpose(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("AI") as peer:
        assert cli(*add(peer, "--allow", "store", "--yes")).exit_code == 0
    added = all_modalities(orthanc.client)["MODLINK"]
    assert (added.allow_store, added.allow_move) == (True, False)


def test_adding_the_same_again_changes_nothing_and_succeeds(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("MODLINK_AE") as peer:
        cli(*add(peer, "--yes"))
        again = cli(*add(peer))  # nothing to confirm

        assert again.exit_code == 0
        assert "was there already" in again.stdout


def test_the_guided_flow_asks_for_everything_and_takes_the_default_port(
    orthanc: OrthancServer, cli: CommandLine
) -> None:
    answers = "STANFORD_PACS\nSTANFORDPACS\n127.0.0.1\n\ny\ny\n"
    status, shown = cli.on_terminal("add-destination", answers=answers, NO_COLOR="1")

    assert status == 0, shown
    for words in (
        "used in routing rules",
        "AE Title",
        "hostname",
        "[default: 104]",
        "C-ECHO failed",
        "all the same?",
    ):
        assert words in shown
    added = all_modalities(orthanc.client)["STANFORD_PACS"]
    assert (added.aet, added.port) == ("STANFORDPACS", 104)


def test_a_destination_that_does_not_answer_is_not_added_unasked(orthanc: OrthancServer, cli: CommandLine) -> None:
    silent = Peer("NOBODY")  # never started
    refused = cli(*add(silent, "--yes"))

    assert refused.exit_code == 2
    assert "--no-test" in refused.stderr
    assert all_modalities(orthanc.client) == {}
    assert cli(*add(silent, "--yes", "--no-test")).exit_code == 0
    assert "MODLINK" in all_modalities(orthanc.client)


def test_without_a_terminal_every_missing_flag_is_named_at_once(site: Site, cli: CommandLine) -> None:
    result = cli.piped("add-destination", "--name", "MODLINK")

    assert result.returncode == 2
    assert result.stdout == ""
    assert "--aet, --host, --port" in result.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--name", "MOD LINK"), ("--aet", "SEVENTEEN_LETTERS"), ("--host", "a b"), ("--port", "70000")],
)
def test_a_value_dicom_would_not_take_is_named(
    orthanc: OrthancServer, cli: CommandLine, flag: str, value: str
) -> None:
    result = cli(*add(Peer("MODLINK_AE"), "--no-test", "--yes", flag, value))

    assert result.exit_code == 2
    assert value in result.stderr
    assert all_modalities(orthanc.client) == {}


def test_an_answer_is_timed_and_exits_with_0(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality())
        answer = cli.json("test-destination", "MODLINK")

    assert (answer["ok"], answer["exit_code"], answer["error"]) == (True, 0, None)
    assert answer["milliseconds"] >= 0


def test_a_rejection_says_which_ae_titles_to_agree_on(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("MODLINK", rejects=True) as peer:
        ensure(orthanc.client, peer.modality())
        result = cli("test-destination", "MODLINK")

    assert result.exit_code == 2
    assert "must register our AE title ORTHANC" in result.stdout
    assert "AE title is MODLINK" in result.stdout


def test_refused_and_silent_are_told_apart(orthanc: OrthancServer, cli: CommandLine) -> None:
    with BlackHole() as hole:
        ensure(orthanc.client, Modality(name="SILENT", aet="X", host="127.0.0.1", port=hole.port))
        ensure(orthanc.client, Modality(name="CLOSED", aet="X", host="127.0.0.1", port=free_port()))
        silent, closed = cli("test-destination", "SILENT"), cli("test-destination", "CLOSED")

    assert (silent.exit_code, closed.exit_code) == (2, 2)
    assert "firewall" in silent.stdout
    assert "nothing listens" in closed.stdout


def test_an_unknown_destination_lists_the_known_ones(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality())
    for command in (["test-destination", "MODLNIK"], ["remove-destination", "MODLNIK", "--yes"]):
        result = cli(*command)
        assert result.exit_code == 2
        assert "it has MODLINK" in result.stderr


def test_a_destination_in_use_is_not_removed_unless_forced(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force()
    site.promise(to="MERCURE")
    for name in ("MERCURE", "MODLINK", "OTHER"):
        ensure(orthanc.client, Modality(name=name, aet=name, host="127.0.0.1", port=104))
    refused = cli("remove-destination", "MERCURE", "--yes")

    assert refused.exit_code == 2
    assert "'bone_length_to_ai'" in refused.stderr
    assert "1 delivery is not done" in refused.stderr
    assert cli("remove-destination", "MODLINK", "--yes").exit_code == 2
    assert cli("remove-destination", "OTHER", "--yes").exit_code == 0
    assert cli("remove-destination", "MERCURE", "--force", "--yes").exit_code == 0
    assert all_modalities(orthanc.client).keys() == {"MODLINK"}


def test_removing_needs_a_yes_where_nobody_can_be_asked(site: Site, orthanc: OrthancServer, cli: CommandLine) -> None:
    site.routes_in_force("routes: []")
    ensure(orthanc.client, Modality(name="OTHER", aet="X", host="127.0.0.1", port=104))

    assert "--yes" in cli("remove-destination", "OTHER").stderr
    assert cli.on_terminal("remove-destination", "OTHER", answers="n\n")[0] == 1
    assert all_modalities(orthanc.client).keys() == {"OTHER"}
    assert cli.on_terminal("remove-destination", "OTHER", answers="y\n")[0] == 0
    assert all_modalities(orthanc.client) == {}


def test_the_list_joins_what_orthanc_deliveries_and_routes_know(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    site.routes_in_force()
    site.stuck(to="MERCURE")
    ensure(orthanc.client, Modality(name="MERCURE", aet="MERCURE_AE", host="10.0.0.1", port=11112))
    mercure, modlink = cli.json("destinations")["destinations"]

    assert (mercure["name"], mercure["aet"], mercure["host"], mercure["port"]) == (
        "MERCURE",
        "MERCURE_AE",
        "10.0.0.1",
        11112,
    )
    assert (mercure["state"], mercure["stuck"], mercure["routes"]) == ("down", 1, ["bone_length_to_ai"])
    assert (modlink["registered"], modlink["state"]) == (False, "not configured")
    shown = cli("destinations").stdout
    assert "MERCURE_AE @ 10.0.0.1:11112, 1 route: bone_length_to_ai" in shown


def test_the_guided_flow_asks_again_for_what_dicom_would_not_take(orthanc: OrthancServer, cli: CommandLine) -> None:
    """Each answer at once, not all of them at the end."""
    answers = "STANFORD PACS\nSTANFORD_PACS\nSEVENTEEN_LETTERS\nSTANFORDPACS\na b\n127.0.0.1\n70000\nx\n104\ny\ny\n"
    status, shown = cli.on_terminal("add-destination", answers=answers, NO_COLOR="1")

    assert status == 0, shown
    for words in ("cannot name a destination", "is no AE title", "is no host", "is no TCP port"):
        assert words in shown
    assert all_modalities(orthanc.client)["STANFORD_PACS"].port == 104


def test_an_option_that_dicom_would_not_take_is_refused_before_anything_is_asked(
    orthanc: OrthancServer, cli: CommandLine
) -> None:
    status, shown = cli.on_terminal("add-destination", "--aet", "SEVENTEEN_LETTERS")

    assert status == 2
    assert "Enter" not in shown


def test_a_change_keeps_what_is_not_said(orthanc: OrthancServer, cli: CommandLine) -> None:
    with Peer("MODLINK") as peer:
        kept = Modality(
            name="MODLINK", aet="OLD", host="10.0.0.1", port=1, local_aet="US", timeout=7, allow_store=True
        )
        ensure(orthanc.client, kept)
        assert cli(*add(peer, "--yes")).exit_code == 0

    changed = all_modalities(orthanc.client)["MODLINK"]
    assert (changed.aet, changed.port) == (peer.aet, peer.port)
    assert (changed.local_aet, changed.timeout, changed.allow_store) == ("US", 7, True)


def test_tls_is_asked_for_shown_and_its_failure_explained(orthanc: OrthancServer, cli: CommandLine) -> None:
    """This Orthanc has no certificate; tests/integration/orthanc/test_dicom_tls.py has one that has."""
    with Peer("MODLINK") as peer:
        refused = cli(*add(peer, "--tls", "--yes"))
        assert refused.exit_code == 2
        assert "no certificate of its own" in refused.stdout
        assert cli(*add(peer, "--tls", "--yes", "--no-test")).exit_code == 0

    [modlink] = cli.json("destinations")["destinations"]
    assert modlink["tls"] is True
    assert "(TLS)" in cli("destinations").stdout
    assert (
        cli(
            "add-destination",
            "--name",
            "MODLINK",
            "--aet",
            "X",
            "--host",
            "h",
            "--port",
            "1",
            "--no-tls",
            "--no-test",
            "--yes",
        ).exit_code
        == 0
    )
    assert all_modalities(orthanc.client)["MODLINK"].use_dicom_tls is False


ORTHANC_JSON = """
{
  // what the old Orthanc knew
  "DicomModalities": {
    "MERCURE": {"AET": "MERCURE", "Host": "10.0.0.1", "Port": 11112, "AllowFind": false, "AllowMove": false,
                "AllowGet": false},
    "MODLINK": ["MODLINK", "10.0.0.2", 104],
    "SCANNER": ["CR_ROOM1", "10.0.0.3", 4000, "Generic"], /* the last */
  }
}
"""


@pytest.fixture
def old_configuration(orthanc: OrthancServer, tmp_path: Path) -> Path:
    """With one entry that Orthanc has as it is, one that differs, and one that it lacks."""
    ensure(orthanc.client, Modality(name="MERCURE", aet="MERCURE", host="10.0.0.1", port=11112, allow_store=True))
    ensure(orthanc.client, Modality(name="MODLINK", aet="MODLINK", host="10.0.0.9", port=104))
    ensure(orthanc.client, Modality(name="OTHER", aet="OTHER", host="10.0.0.8", port=104))
    file = tmp_path / "orthanc.json"
    file.write_text(ORTHANC_JSON)
    return file


def test_an_import_says_what_it_would_do_and_a_dry_run_does_nothing(
    orthanc: OrthancServer, old_configuration: Path, cli: CommandLine
) -> None:
    before = all_modalities(orthanc.client)
    answer = cli.json("import-destinations", str(old_configuration), "--dry-run")
    shown = cli("import-destinations", str(old_configuration), "--dry-run").stdout

    assert (answer["added"], answer["kept"], answer["others"]) == (["SCANNER"], ["MERCURE"], ["OTHER"])
    assert answer["changed"][0]["name"] == "MODLINK"
    assert answer["changed"][0]["differences"]["host"] == {"before": "10.0.0.9", "after": "10.0.0.2"}
    for words in ("new", "as before", "host 10.0.0.9 → 10.0.0.2", "stays: OTHER", "nothing was changed"):
        assert words in shown
    assert all_modalities(orthanc.client) == before


def test_an_import_adds_and_changes_and_a_second_one_changes_nothing(
    orthanc: OrthancServer, old_configuration: Path, cli: CommandLine
) -> None:
    unasked = cli("import-destinations", str(old_configuration))
    assert unasked.exit_code == 2
    assert "--yes" in unasked.stderr
    assert "SCANNER" not in all_modalities(orthanc.client)

    assert cli("import-destinations", str(old_configuration), "--yes").exit_code == 0
    now = all_modalities(orthanc.client)
    assert now.keys() == {"MERCURE", "MODLINK", "OTHER", "SCANNER"}
    assert (now["MODLINK"].host, now["SCANNER"].allow_store) == ("10.0.0.2", True)
    again = cli("import-destinations", str(old_configuration))
    assert again.exit_code == 0
    assert "All of them are there already" in again.stdout


def test_one_unsound_entry_keeps_all_from_being_imported(
    orthanc: OrthancServer, old_configuration: Path, cli: CommandLine
) -> None:
    old_configuration.write_text(ORTHANC_JSON.replace('"CR_ROOM1"', '"SEVENTEEN_LETTERS"'))
    refused = cli("import-destinations", str(old_configuration), "--yes")

    assert refused.exit_code == 2
    assert "SEVENTEEN_LETTERS" in refused.stderr
    assert all_modalities(orthanc.client)["MODLINK"].host == "10.0.0.9"


def test_how_a_destination_is_verified_is_said_when_it_is_added_and_kept_when_it_is_changed(
    site: Site, orthanc: OrthancServer, cli: CommandLine
) -> None:
    with Peer("ARCHIVE") as peer:
        add = ["add-destination", "--name", "ARCHIVE", "--aet", "ARCHIVE", "--host", "127.0.0.1"]
        add += ["--port", str(peer.port), "--yes"]
        result = cli(*add, "--verify", "find")
        assert (result.exit_code, "C-FIND" in result.stdout) == (0, True)
        assert cli(*add, "--concurrency", "1").exit_code == 0

    (shown,) = cli.json("destinations")["destinations"]
    assert shown["verify"] == "find"
    assert cli(*add, "--no-test", "--verify", "guess").exit_code == 2
