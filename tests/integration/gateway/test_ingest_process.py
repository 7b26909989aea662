"""The forwarder process takes up its spool, whatever kills it and wherever."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from tests.support.network import eventually, free_port
from tests.support.spool import SpooledGateway, a_gateway_route
from tests.support.studies import a_study

from pacsops.delivery.heartbeat import GATEWAY
from pacsops.delivery.routes_watch import RoutesWatch
from pacsops.gateway.spool import HINTS
from pacsops.routes import RouteTable, Source
from pacsops.settings import Settings

CHECKOUT = Path(__file__).parents[3]
ROUTES = yaml.safe_dump(
    {"routes": [a_gateway_route("all", "PACS"), {**a_gateway_route("in", "X"), "source": "orthanc"}]}
)


class ForwarderAtSite:
    """`pacsops gateway --part forwarder` beside a spool that the test fills; PACS refuses every connection."""

    def __init__(self, settings: Settings, gateway: SpooledGateway, folder: Path) -> None:
        self.settings = replace(
            settings,
            gateway_spool=gateway.spool,
            gateway_file=folder / "gateway.yml",
            routes_file=folder / "routes.yml",
            gateway_port=free_port(),
        )
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        pacs = {"host": "127.0.0.1", "port": free_port(), "aet": "PACS"}
        self.settings.gateway_file.write_text(yaml.safe_dump({"destinations": {"PACS": pacs}}))
        self.settings.routes_file.write_text(ROUTES)

    def start(self, *, killed_at: tuple[str, str] | None = None) -> None:
        """Killed at (MODULE:FUNCTION, before|after), by itself."""
        env_file = self._folder / ".env"
        env_file.write_text(
            "".join(
                f"{field.name.upper()}={value}\n"
                for field in fields(Settings)
                if (value := getattr(self.settings, field.name)) is not None
                and field.name not in {"env_file", "canary_destinations", "gateway_reserve"}
            )
        )
        program = ["pacsops.cli.services", "gateway", "--part", "forwarder"]
        if killed_at is not None:
            program = ["tests.support.killed_gateway", *killed_at]
        with (self._folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *program],
                env={**os.environ, "ORTHANC_ENV": str(env_file)},
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )

    def ends(self) -> int:
        """Until it has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def stop(self) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        return self.ends()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        path = self._folder / "gateway.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def forwarder(spooled: SpooledGateway, spooled_settings: Settings, tmp_path: Path) -> Iterator[ForwarderAtSite]:
    spooled.ingest.close()
    site = ForwarderAtSite(spooled_settings, spooled, tmp_path)
    yield site
    site.kill()
    print(site.log[-4000:])


def hint(spooled: SpooledGateway, names: list[str]) -> None:
    """As receivers do, whether or not anybody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        for name in names:
            try:
                receiver.sendto(name.encode(), str(spooled.spool / HINTS))
            except OSError:
                return


@pytest.mark.parametrize(
    "point",
    [
        ("pacsops.gateway.records:lock", "before"),
        ("pacsops.gateway.records:insert", "after"),
        ("pacsops.delivery.studies:evaluated", "before"),
        ("pacsops.delivery.studies:evaluated", "after"),
        ("pacsops.gateway.ingest:Ingest._tell", "before"),
    ],
)
def test_killed_at_any_point_of_a_batch_the_next_one_takes_up_what_is_missing(
    spooled: SpooledGateway, forwarder: ForwarderAtSite, point: tuple[str, str]
) -> None:
    names = spooled.write(a_study().with_series("CT", instances=3))
    names += spooled.write(a_study().with_series("MR", instances=2))
    forwarder.start(killed_at=point)
    assert forwarder.ends() == -signal.SIGKILL
    assert len(spooled.instances()) in {0, 5}, "half a batch"

    forwarder.start()
    eventually(lambda: len(spooled.instances()) == 5, within=60)
    eventually(lambda: spooled.promised() == {("all", "PACS"): set(names)}, within=60)
    more = spooled.write(a_study().with_series("CT"))
    hint(spooled, more)
    eventually(lambda: len(spooled.instances()) == 6, within=30)

    assert forwarder.stop() == 0
    assert not (spooled.spool / HINTS).exists()
    assert len({row["file"] for row in spooled.instances()}) == 6
    assert "study_id" not in forwarder.log
    assert not any(row["study_uid"] in forwarder.log for row in spooled.instances())


def test_restarted_beside_broken_files_it_goes_on_with_the_last_good_ones_and_says_so(
    spooled: SpooledGateway, forwarder: ForwarderAtSite
) -> None:
    forwarder.start()
    eventually(lambda: "config_reloaded" in forwarder.log, within=60)
    assert forwarder.stop() == 0
    names = spooled.write(a_study().with_series("CT", instances=2))
    forwarder.settings.gateway_file.write_text("destinations: 7")
    forwarder.settings.routes_file.write_text("routes: {")

    forwarder.start()

    eventually(lambda: spooled.promised() == {("all", "PACS"): set(names)}, within=60)
    assert "configuration_kept" in forwarder.log
    assert "config_kept" in forwarder.log
    beat = GATEWAY.newest(spooled.database)
    assert beat is not None
    assert list(beat.detail["destinations"]) == ["PACS"]
    assert "destinations: a mapping is wanted" in beat.detail["configuration"]["rejected"]
    assert beat.detail["configuration"]["accepted_at"]


def test_a_router_and_a_gateway_write_the_same_file_down_once_and_each_its_own_warnings(
    spooled: SpooledGateway, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yml"
    path.write_text(ROUTES)
    taken: dict[Source, list[RouteTable]] = {source: [] for source in Source}
    watches = [
        RoutesWatch(spooled.database, path, source, destinations=lambda: {"Y"}, take=taken[source].append)
        for source in Source
    ]

    for watch in [*watches, *watches]:
        watch.step()

    (version,) = spooled.rows("SELECT * FROM routes_version")
    assert version["accepted"]
    assert [[route.name for route in table.routes] for (table,) in taken.values()] == [["in"], ["all"]]
    assert {table.hash for (table,) in taken.values()} == {version["hash"]}

    for watch in watches:
        watch._warned_at = 0.0
        watch.step()
    (version,) = spooled.rows("SELECT * FROM routes_version")
    assert {(problem["source"], problem["message"]) for problem in version["problems"]} == {
        ("orthanc", "unknown destination 'X'"),
        ("gateway", "unknown destination 'PACS'"),
    }

    path.write_text("routes: {")
    for watch in [*watches, *watches, *watches]:
        watch.step()
    assert [row["accepted"] for row in spooled.rows("SELECT accepted FROM routes_version ORDER BY id")] == [
        True,
        False,
    ]
    assert all(len(tables) == 1 for tables in taken.values())
