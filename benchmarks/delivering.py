"""From a study's last image in Orthanc to its arrival at a destination, beside Orthanc's own auto-routing."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import jinja2
from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import PLUGINS, OrthancServer
from tests.support.postgres import PostgresServer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from benchmarks.measure import Figure, percentile
from benchmarks.parts import cpu_seconds, migrated, peak_mebibytes
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.model import Event
from pacsops.orthanc import Modality, ensure

STUDIES = 15
IMAGES = 4
IDLE_SECONDS = 20.0
IDLE_DESTINATIONS = 10
DESTINATION = "PEER"
_GIVE_UP_SECONDS = 30.0
_TEMPLATE = Path(__file__).parents[1] / "templates" / "wake.py.j2"
# SendToModality takes one instance only; for a study the Orthanc Book says to ask the REST API:
# https://orthanc.uclouvain.be/book/users/lua.html#important-remarks-about-auto-routing
_LUA = f"""
function OnStableStudy(studyId, tags, metadata)
  print('stable ' .. studyId)
  if metadata['ModifiedFrom'] == nil then
    RestApiPost('/modalities/{DESTINATION}/store', studyId)
  end
end
"""
_LUA_FOR_THE_CLOCK = """
function OnStableStudy(studyId, tags, metadata)
  print('stable ' .. studyId)
end
"""
_STABLE = re.compile(r"^W(\d{4} [\d:.]+) .* Lua says: stable (\S+)$", re.MULTILINE)
_PEER = "Orthanc's Lua auto-routing"


class Receiver:
    """DCMTK's storescp, keeping what it is given in a folder."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pacsops-storescp-"))
        self._process = subprocess.Popen(
            ["/usr/bin/storescp", "--aetitle", DESTINATION, "--output-directory", str(self._folder), str(self.port)]
        )
        eventually(lambda: accepts(self.port), what="storescp listening")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        shutil.rmtree(self._folder)

    def modality(self, name: str = DESTINATION) -> Modality:
        return Modality(name=name, aet=DESTINATION, host="127.0.0.1", port=self.port)

    def wait_for(self, images: int) -> None:
        """Until as many files have come (looked for every 5 ms); they are removed then."""
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while len(found := list(os.scandir(self._folder))) < images:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {images} images arrived within {_GIVE_UP_SECONDS:g} s")
            time.sleep(0.005)
        for entry in found:
            Path(entry).unlink()


@dataclasses.dataclass
class System:
    """An Orthanc that delivers what it is given, by itself or by a router."""

    name: str
    orthanc: OrthancServer
    receiver: Receiver
    site: RoutedSite | None = None
    times: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)
    """Of each study: Orthanc's id, and the times it was stored and had arrived (seconds since 1970)."""

    def since_stored(self) -> list[float]:
        """Seconds from storing to arrival, of each study."""
        return [arrived - stored for _, stored, arrived in self.times]

    def since_stable(self) -> list[float]:
        """Seconds from the moment Orthanc called the study stable to arrival, of each study."""
        stable = self.stable_at()
        return [arrived - stable[study_id] for study_id, _, arrived in self.times]

    def stable_at(self) -> dict[str, float]:
        """When each study became stable (seconds since 1970), by Orthanc's log: local time, without the year."""
        year = datetime.now().astimezone().year
        return {
            study_id: datetime.strptime(f"{year}{moment}", "%Y%m%d %H:%M:%S.%f").astimezone().timestamp()
            for moment, study_id in _STABLE.findall(self.orthanc.log)
        }

    def deliver_one(self) -> None:
        study = a_study(description="XR BONE LENGTH").with_series("CR", instances=IMAGES)
        self.orthanc.store(study.datasets)
        stored = time.time()
        self.receiver.wait_for(IMAGES)
        arrived = time.time()
        self.times.append((self.orthanc.study_id(study.study_uid), stored, arrived))


def measure(postgres: PostgresServer) -> list[Figure]:
    """Studies of small CR images, sent to each system in turn; StableAge is one second everywhere."""
    with ExitStack() as stack:
        lua = stack.enter_context(_routed_by_lua())
        woken = stack.enter_context(_routed_by_us(postgres, hook=True))
        polling = stack.enter_context(_routed_by_us(postgres, hook=False))
        systems = (lua, woken, polling)
        for system in systems:
            system.deliver_one()  # warms up
            system.times.clear()
        cpu, clock = cpu_seconds(_router_pid(woken)), time.monotonic()
        pauses = random.Random(1)
        for _ in range(STUDIES):
            for system in systems:
                time.sleep(pauses.random())
                system.deliver_one()
        busy = (cpu_seconds(_router_pid(woken)) - cpu) / (time.monotonic() - clock)
        figures = [*_latencies(woken, lua), *_latencies(polling, lua), *_stages(woken)]
        idle = _idle(woken)
        memory = peak_mebibytes(_router_pid(woken))
    return [
        *figures,
        Figure(name="router's CPU while it delivers", value=100 * busy, unit="% of a core"),
        Figure(
            name=f"router's CPU, idle with {IDLE_DESTINATIONS} destinations", value=100 * idle, unit="% of a core"
        ),
        Figure(name="router's memory at its peak", value=memory, unit="MiB"),
    ]


def _latencies(ours: System, peer: System) -> list[Figure]:
    return [
        Figure(
            name=f"{start} → delivered, {ours.name}, {which}",
            value=of(seconds(ours)),
            unit="s",
            peer=peer.name,
            peer_value=of(seconds(peer)),
        )
        for start, seconds in (("last image stored", System.since_stored), ("study stable", System.since_stable))
        for which, of in (("median", statistics.median), ("p95", partial(percentile, percent=95)))
    ]


def _stages(ours: System) -> list[Figure]:
    """Where the time goes, by the timeline of each study."""
    assert ours.site is not None
    stages: dict[str, list[float]] = {
        "stable → planned": [],
        "planned → job submitted": [],
        "submitted → arrived": [],
    }
    stable = ours.stable_at()
    for study_id, _, arrived in ours.times:
        at = {found.event: found.at.timestamp() for found in desk.timeline(ours.site.database, study_id)}
        moments = [stable[study_id], at[Event.ROUTE_MATCHED], at[Event.SEND_STARTED], arrived]
        for stage, (start, end) in zip(stages.values(), pairwise(moments), strict=True):
            stage.append(end - start)
    return [
        Figure(name=f"of it {name}, {ours.name}, median", value=1000 * statistics.median(values), unit="ms")
        for name, values in stages.items()
    ]


@contextmanager
def _routed_by_lua() -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="pacsops-bench-") as folder, _receiver() as receiver:
        script = Path(folder) / "autorouting.lua"
        script.write_text(_LUA)
        with OrthancServer(options={"LuaScripts": [str(script)]}) as orthanc:
            ensure(orthanc.client, receiver.modality())
            yield System(_PEER, orthanc, receiver)


@contextmanager
def _routed_by_us(postgres: PostgresServer, *, hook: bool) -> Iterator[System]:
    wake_port = free_port() if hook else 0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pacsops-bench-"))
        receiver = stack.enter_context(_receiver())
        script = Path(folder) / "clock.lua"
        script.write_text(_LUA_FOR_THE_CLOCK)
        options = {"LuaScripts": [str(script)], **(_hook(wake_port, Path(folder)) if hook else {})}
        orthanc = stack.enter_context(OrthancServer(options=options))
        settings, _ = stack.enter_context(migrated(postgres))
        site = stack.enter_context(
            RoutedSite(dataclasses.replace(orthanc.settings(of=settings), router_wake_port=wake_port), orthanc)
        )
        ensure(orthanc.client, receiver.modality())
        site.routes(a_route("bone_length", DESTINATION, match={"study_description": {"contains": "BONE LENGTH"}}))
        site.start_process()
        eventually(lambda: _routes_of_router(site) == 1, within=30, what="the router reading its routes")
        yield System("woken by the hook" if hook else "poll only", orthanc, receiver, site)


@contextmanager
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def _hook(port: int, folder: Path) -> dict[str, object]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    script = folder / "wake.py"
    script.write_text(
        environment.from_string(_TEMPLATE.read_text()).render(_runtime_wake_host="127.0.0.1", router_wake_port=port)
    )
    return {"Plugins": [str(PLUGINS / "libOrthancPython.so")], "PythonScript": str(script)}


def _idle(system: System) -> float:
    """Share of a core that the router takes while nothing happens, with more destinations."""
    assert system.site is not None
    site = system.site
    names = [f"{DESTINATION}{number}" for number in range(IDLE_DESTINATIONS)]
    for name in names:
        ensure(site.orthanc.client, system.receiver.modality(name))
    site.routes(*(a_route(name.lower(), name, match={"modality": {"equals": "SR"}}) for name in names))
    eventually(lambda: _routes_of_router(site) == IDLE_DESTINATIONS, within=30, what="the router reading its routes")
    cpu, clock = cpu_seconds(_router_pid(system)), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(_router_pid(system)) - cpu) / (time.monotonic() - clock)


def _routes_of_router(site: RoutedSite) -> int:
    beat = ROUTER.newest(site.database)
    return int(beat.detail["routes"]) if beat else 0


def _router_pid(system: System) -> int:
    """A worker is named host:pid:random."""
    assert system.site is not None
    beat = ROUTER.newest(system.site.database)
    assert beat is not None
    return int(beat.instance.split(":")[1])
