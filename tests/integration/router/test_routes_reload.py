"""routes.yml changes under a running router; an invalid file never replaces a good one."""

from __future__ import annotations

import random

import pytest
from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk, studies
from pacsops.delivery.model import Event, Status
from pacsops.orthanc import last_change

NONSENSE = random.Random(7).randbytes(1_000_000).decode("latin-1")


def test_a_changed_file_is_in_force_within_seconds_and_without_a_restart(site: RoutedSite) -> None:
    with Peer("OLD") as old, Peer("NEW") as new:
        names = site.destination(old), site.destination(new)
        site.routes(a_route("all", names[0]))
        site.start()
        eventually(lambda: desk.routes_in_force(site.database), what="the first routes")

        site.routes(a_route("all", names[1]))

        eventually(lambda: "NEW" in desk.routes_in_force(site.database).text, what="the new routes")  # type: ignore[union-attr]
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        assert (old.uids, new.uids) == ([], study.uids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "routes:\n  - name: half\n    match:\n      modality: {equ",
        NONSENSE,
        "routes: {a: &x [*x]}",
        "[" * 100_000,
    ],
    ids=["empty", "half-written", "a megabyte of nonsense", "an alias to itself", "deep"],
)
def test_an_invalid_file_changes_nothing_and_is_told(site: RoutedSite, text: str) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        good = eventually(lambda: desk.routes_in_force(site.database), what="the first routes")
        assert good is not None

        site.write_routes(text)

        def rejected() -> bool:
            newest = desk.newest_routes(site.database)
            return newest is not None and not newest.accepted and bool(newest.problems)

        eventually(rejected, within=10, what="the rejection being told")
        in_force = desk.routes_in_force(site.database)
        assert in_force is not None and in_force.hash == good.hash
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids
        assert rejected(), "it is told for as long as the file is so"


def cursor_of(site: RoutedSite) -> int:
    at = studies.cursor(site.database)
    return at.seq if at else 0


def test_a_changed_file_is_for_new_studies_also_after_a_restart(site: RoutedSite) -> None:
    with Peer("OLD") as old, Peer("NEW") as new:
        names = site.destination(old), site.destination(new)
        site.routes(a_route("first", names[0]))
        site.start()
        before = a_study().with_series("CT")
        before.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        # A scan may have evaluated it, quicker than its StableStudy was read: that one is judged when it is read.
        eventually(lambda: cursor_of(site) >= last_change(site.orthanc.client), what="every change being read")
        site.stop()
        site.routes(a_route("second", names[1]))

        site.start()
        after = a_study().with_series("CT")
        after.in_(site.orthanc)

        site.wait_for(Status.SUCCESS, 2)
        assert (old.uids, new.uids) == (before.uids, after.uids)


def test_a_router_started_with_an_invalid_file_goes_on_with_the_last_good_one(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        eventually(lambda: desk.routes_in_force(site.database), what="the first routes")
        site.stop()
        site.write_routes("routes: nonsense")

        site.start()

        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids


def test_without_any_valid_routes_studies_wait_and_are_routed_when_there_are(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        name = site.destination(peer)
        site.start()
        study = a_study().with_series("CT")
        study_id = study.in_(site.orthanc)
        eventually(lambda: Event.STUDY_RECEIVED in site.events(study_id), what="the study being known")

        site.routes(a_route("all", name))

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids
