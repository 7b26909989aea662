"""Destinations in Orthanc: brought to a wanted state, removed, echoed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import BlackHole, Peer

from pacsops.errors import InvalidDestination, OrthancRefused, UnknownDestination
from pacsops.orthanc import Modality, all_modalities, echo, echo_unregistered, ensure, remove

MODLINK = Modality(name="MODLINK", aet="MODLINK_AE", host="10.0.0.7", port=104)


def test_a_modality_comes_to_be_as_wanted(orthanc: OrthancServer) -> None:
    wanted = replace(
        MODLINK, manufacturer="GE", local_aet="US", use_dicom_tls=True, timeout=7, allow_echo=False, allow_find=True
    )

    change = ensure(orthanc.client, wanted, apply=True)

    assert (change.changed, change.before, change.after) == (True, None, wanted)
    assert all_modalities(orthanc.client) == {"MODLINK": wanted}


def test_what_is_already_so_is_not_written(orthanc: OrthancServer) -> None:
    ensure(orthanc.client, MODLINK, apply=True)

    change = ensure(orthanc.client, MODLINK, apply=True)

    assert not change.changed
    assert change.diff()["before"] == change.diff()["after"]


def test_a_difference_is_found_and_mended(orthanc: OrthancServer) -> None:
    ensure(orthanc.client, MODLINK, apply=True)
    wanted = replace(MODLINK, port=11112)

    change = ensure(orthanc.client, wanted, apply=True)

    diff = change.diff()
    assert change.changed
    assert (diff["before"]["port"], diff["after"]["port"]) == (104, 11112)
    assert all_modalities(orthanc.client)["MODLINK"] == wanted


def test_a_right_given_by_hand_is_a_difference(orthanc: OrthancServer) -> None:
    """A modality added over REST may query and fetch unless told otherwise."""
    orthanc.client.put("/modalities/MODLINK", {"AET": "MODLINK_AE", "Host": "10.0.0.7", "Port": 104})

    change = ensure(orthanc.client, MODLINK, apply=True)

    assert change.before is not None
    assert change.before.allow_move
    assert not all_modalities(orthanc.client)["MODLINK"].allow_move


def test_check_mode_writes_nothing(orthanc: OrthancServer) -> None:
    assert ensure(orthanc.client, MODLINK, apply=False).changed
    assert all_modalities(orthanc.client) == {}

    ensure(orthanc.client, MODLINK, apply=True)
    assert remove(orthanc.client, "MODLINK", apply=False).changed
    assert "MODLINK" in all_modalities(orthanc.client)


def test_a_modality_is_removed_once(orthanc: OrthancServer) -> None:
    ensure(orthanc.client, MODLINK, apply=True)

    first, second = (remove(orthanc.client, "MODLINK", apply=True) for _ in range(2))

    assert (first.changed, first.before, first.after) == (True, MODLINK, None)
    assert not second.changed
    assert all_modalities(orthanc.client) == {}


def test_modalities_outlive_a_restart(orthanc: OrthancServer) -> None:
    ensure(orthanc.client, MODLINK, apply=True)

    orthanc.restart()

    assert all_modalities(orthanc.client) == {"MODLINK": MODLINK}


def test_a_value_that_cannot_be_never_reaches_orthanc(orthanc: OrthancServer) -> None:
    with pytest.raises(InvalidDestination):
        ensure(orthanc.client, replace(MODLINK, aet="SEVENTEEN_LETTERS"), apply=True)

    assert all_modalities(orthanc.client) == {}


def test_orthancs_own_objection_is_passed_on(orthanc: OrthancServer) -> None:
    with pytest.raises(OrthancRefused, match="Unknown modality manufacturer"):
        ensure(orthanc.client, replace(MODLINK, manufacturer="NOBODY"), apply=True)


def test_a_living_peer_answers_an_echo(orthanc: OrthancServer) -> None:
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality(), apply=True)

        answer = echo(orthanc.client, "MODLINK")

    assert (answer.ok, answer.failure, peer.echoes) == (True, None, 1)


def test_a_peer_need_not_be_registered_to_be_echoed(orthanc: OrthancServer) -> None:
    with Peer("MODLINK") as peer:
        assert echo_unregistered(orthanc.client, peer.modality()).ok

    assert all_modalities(orthanc.client) == {}


def test_a_closed_port_refuses_an_echo(orthanc: OrthancServer) -> None:
    answer = echo_unregistered(orthanc.client, replace(MODLINK, host="127.0.0.1", port=free_port()))

    assert not answer.ok
    assert answer.failure is not None
    assert answer.failure.kind == "refused"


def test_an_unknown_host_is_unreachable(orthanc: OrthancServer) -> None:
    answer = echo_unregistered(orthanc.client, replace(MODLINK, host="modlink.invalid"))

    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message) == ("unreachable", "host name modlink.invalid is unknown")


def test_a_peer_that_does_not_know_our_title_rejects_an_echo(orthanc: OrthancServer) -> None:
    with Peer("MODLINK", rejects=True) as peer:
        answer = echo_unregistered(orthanc.client, peer.modality())

    assert answer.failure is not None
    assert answer.failure.kind == "rejected-association"


def test_a_silent_peer_times_an_echo_out(orthanc: OrthancServer) -> None:
    with BlackHole() as silent:
        answer = echo_unregistered(orthanc.client, silent.modality(), timeout=1)

    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message) == ("timeout", "no answer within 1 s")


def test_an_unknown_destination_is_said_to_be_so(orthanc: OrthancServer) -> None:
    with pytest.raises(UnknownDestination, match="Orthanc has no destination NOWHERE"):
        echo(orthanc.client, "NOWHERE")
