"""orthanc_modality against a real Orthanc: create, repeat, change, delete, repeat; and in check mode."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ansible.conftest import RunModule
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer

from pacsops.database import Database
from pacsops.delivery import desk, verification
from pacsops.orthanc import Modality, all_modalities, ensure

MODLINK = {"name": "MODLINK", "aet": "MODLINK", "host": "10.251.201.59", "port": 104}
MERCURE = {"name": "MERCURE", "aet": "MERCURE", "host": "172.17.0.1", "port": 11112, "allow_store": True}


def arguments(orthanc: OrthancServer, *modalities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "url": orthanc.url,
        "username": USERNAME,
        "password": PASSWORD,
        "modalities": list(modalities),
        **more,
    }


def test_a_destination_is_created_kept_changed_and_removed(orthanc: OrthancServer, run_module: RunModule) -> None:
    created = run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE))
    repeated = run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE))
    moved = run_module("orthanc_modality", arguments(orthanc, {**MODLINK, "port": 4242}, MERCURE))
    registered = all_modalities(orthanc.client)
    removed = run_module("orthanc_modality", arguments(orthanc, {"name": "MODLINK"}, state="absent"))
    gone = run_module("orthanc_modality", arguments(orthanc, {"name": "MODLINK"}, state="absent"))

    assert [each["changed"] for each in (created, repeated, moved, removed, gone)] == [True, False, True, True, False]
    assert [(each["before"]["port"], each["after"]["port"]) for each in moved["diff"]] == [(104, 4242)]
    assert registered["MODLINK"].port == 4242
    assert set(all_modalities(orthanc.client)) == {"MERCURE"}


def test_a_destination_gets_only_the_rights_it_was_given(orthanc: OrthancServer, run_module: RunModule) -> None:
    run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE))

    registered = all_modalities(orthanc.client)
    assert (registered["MERCURE"].allow_store, registered["MODLINK"].allow_store) == (True, False)
    assert not any(modality.allow_find or modality.allow_move for modality in registered.values())


def test_check_mode_shows_the_change_and_writes_nothing(orthanc: OrthancServer, run_module: RunModule) -> None:
    result = run_module("orthanc_modality", arguments(orthanc, MODLINK), check=True)

    assert result["changed"]
    assert result["diff"][0]["after"]["host"] == "10.251.201.59"
    assert all_modalities(orthanc.client) == {}


def test_a_destination_the_inventory_does_not_know_stays_and_is_named(
    orthanc: OrthancServer, run_module: RunModule
) -> None:
    ensure(orthanc.client, Modality(name="STANFORD_PACS", aet="STANFORDPACS", host="10.50.100.25", port=4242))

    result = run_module("orthanc_modality", arguments(orthanc, MODLINK))

    assert result["unmanaged"] == ["STANFORD_PACS"]
    assert "STANFORD_PACS" in all_modalities(orthanc.client)


def test_drift_is_told_before_it_is_mended_with_the_line_to_add(
    orthanc: OrthancServer, run_module: RunModule
) -> None:
    ensure(orthanc.client, Modality(name="MODLINK", aet="MODLINK", host="10.251.201.59", port=4242))
    ensure(
        orthanc.client,
        Modality(name="STANFORD_PACS", aet="STANFORDPACS", host="10.50.100.25", port=4242, use_dicom_tls=True),
    )

    checked = run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE), check=True)
    mended = run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE))
    again = run_module("orthanc_modality", arguments(orthanc, MODLINK, MERCURE))

    unmanaged = (
        "STANFORD_PACS is in Orthanc and not in the inventory: add - {name: STANFORD_PACS, aet: STANFORDPACS,"
        " host: 10.50.100.25, port: 4242, use_dicom_tls: true} to orthanc_modalities,"
        " or say `orthanc remove-destination STANFORD_PACS`"
    )
    assert (
        checked["drift"]
        == mended["drift"]
        == [
            "MERCURE is not in Orthanc",
            "MODLINK differs: port is 4242, the inventory says 104",
            unmanaged,
        ]
    )
    assert again["drift"] == [unmanaged]
    assert not again["changed"]


def test_one_unsound_entry_keeps_all_from_being_written(orthanc: OrthancServer, run_module: RunModule) -> None:
    result = run_module("orthanc_modality", arguments(orthanc, MODLINK, {**MERCURE, "port": 70000}))

    assert result["failed"]
    assert "70000" in result["msg"]
    assert all_modalities(orthanc.client) == {}


def test_credentials_come_from_the_environment_and_a_wrong_one_says_what_to_do(
    orthanc: OrthancServer, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORTHANC_URL", orthanc.url)
    monkeypatch.setenv("ORTHANC_USERNAME", USERNAME)
    monkeypatch.setenv("ORTHANC_PASSWORD", PASSWORD)
    assert run_module("orthanc_modality", {"modalities": [MODLINK]})["changed"]

    monkeypatch.setenv("ORTHANC_PASSWORD", "another-password")
    refused = run_module("orthanc_modality", {"modalities": [MODLINK]})

    assert refused["failed"]
    assert "ORTHANC_PASSWORD" in refused["msg"]
    assert "another-password" not in str(refused)


def test_how_a_destination_is_verified_is_kept_in_the_sites_database(
    orthanc: OrthancServer, database: Database, env_file: str, run_module: RunModule
) -> None:
    archive = {"name": "ARCHIVE", "aet": "ARCHIVE", "host": "127.0.0.1", "port": 104}
    wanted = {"modalities": [{**archive, "verify": "find"}], "env_file": env_file}
    run_module("orthanc_modality", {"modalities": [archive], "env_file": env_file})

    shown = run_module("orthanc_modality", wanted, check=True)
    assert (shown["changed"], verification.methods(database)) == (True, {})
    assert shown["diff"][0]["before"] == {"verify": "none"}
    assert run_module("orthanc_modality", wanted)["changed"]

    assert verification.methods(database) == {"ARCHIVE": verification.Method.FIND}
    assert not run_module("orthanc_modality", wanted)["changed"]
    assert not run_module("orthanc_modality", {**wanted, "modalities": [archive]})["changed"]
    assert verification.methods(database) == {"ARCHIVE": verification.Method.FIND}


def test_who_sends_to_a_destination_is_kept_in_the_sites_database(
    orthanc: OrthancServer, database: Database, env_file: str, run_module: RunModule
) -> None:
    archive = {"name": "ARCHIVE", "aet": "ARCHIVE", "host": "127.0.0.1", "port": 104}
    wanted = {"modalities": [{**archive, "transport": "direct"}], "env_file": env_file}
    run_module("orthanc_modality", {"modalities": [archive], "env_file": env_file})

    shown = run_module("orthanc_modality", wanted, check=True)
    assert (shown["changed"], desk.destination_health(database)) == (True, {})
    assert shown["diff"][0]["before"] == {"transport": "orthanc"}
    assert run_module("orthanc_modality", wanted)["changed"]

    assert desk.destination_health(database)["ARCHIVE"].transport == "direct"
    assert not run_module("orthanc_modality", wanted)["changed"]
    assert not run_module("orthanc_modality", {**wanted, "modalities": [archive]})["changed"]
