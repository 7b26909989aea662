"""The hooks inside Orthanc wake the router up, and nothing they meet disturbs Orthanc."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tests.support.network import eventually, free_port
from tests.support.orthanc import PLUGINS, OrthancServer
from tests.support.peers import BlackHole, Peer
from tests.support.studies import a_study

from pacsops.orthanc import Modality, ensure, job, study_facts, submit_store

TEMPLATES = Path(__file__).parents[3] / "templates"


class Door:
    """Where the router would listen: counts knocks."""

    def __init__(self) -> None:
        self.knocks: list[tuple[str, bytes]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                door.knocks.append((self.path, self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Door:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.knocks) >= count, what=f"knock {count}")


def rendered(name: str, port: int) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    template = environment.from_string((TEMPLATES / f"{name}.j2").read_text())
    return template.render(_runtime_wake_host="127.0.0.1", router_wake_port=port)


def with_lua(port: int, folder: Path) -> dict[str, Any]:
    script = folder / "wake.lua"
    script.write_text(rendered("wake.lua", port))
    return {"LuaScripts": [str(script)], "HttpTimeout": 1}


def with_python(port: int, folder: Path) -> dict[str, Any]:
    script = folder / "wake.py"
    script.write_text(rendered("wake.py", port))
    return {"Plugins": [str(PLUGINS / "libOrthancPython.so")], "PythonScript": str(script)}


Hook = Callable[[int, Path], dict[str, Any]]
hooks = pytest.mark.parametrize("hook", [with_lua, with_python])


@contextmanager
def orthanc_with(hook: Hook, port: int, folder: Path) -> Iterator[OrthancServer]:
    with OrthancServer(options=hook(port, folder)) as server:
        yield server
        server.stop()  # must end by itself, whatever the hook waits for
        assert "Traceback" not in server.log


def sent(orthanc: OrthancServer, study_id: str, modality: Modality) -> str:
    """The state a send to there ends in."""
    ensure(orthanc.client, modality, apply=True)
    _, facts = study_facts(orthanc.client, study_id)
    job_id = submit_store(orthanc.client, modality.name, [i.instance_id for i in facts.instances], timeout=1)

    def state() -> str:
        seen = job(orthanc.client, job_id)
        return seen.state if seen is not None and seen.state in {"Success", "Failure"} else ""

    return eventually(state, what="the job ending")


@hooks
def test_a_stable_study_and_the_end_of_a_job_knock(hook: Hook, tmp_path: Path) -> None:
    with ExitStack() as stack:
        door = stack.enter_context(Door())
        orthanc = stack.enter_context(orthanc_with(hook, door.port, tmp_path))
        study_id = a_study().with_series("CR", instances=2).in_(orthanc)
        assert door.knocks == []  # an image that arrives is no reason: the study is not stable yet
        door.wait_for(1)

        peer = stack.enter_context(Peer("MODLINK"))
        assert sent(orthanc, study_id, peer.modality()) == "Success"
        door.wait_for(2)

        peer.stop()
        assert sent(orthanc, study_id, peer.modality()) == "Failure"
        door.wait_for(3)

    assert set(door.knocks) == {("/wake", b"")}


@hooks
def test_without_a_router_orthanc_goes_on(hook: Hook, tmp_path: Path) -> None:
    with orthanc_with(hook, free_port(), tmp_path) as orthanc:
        for study_id in [a_study().with_series("CR").in_(orthanc) for _ in range(2)]:
            orthanc.stable(study_id)

        assert orthanc.client.statistics().studies == 2


@hooks
def test_a_router_that_says_nothing_holds_nothing_up(hook: Hook, tmp_path: Path) -> None:
    with BlackHole() as silent, orthanc_with(hook, silent.port, tmp_path) as orthanc:
        for study_id in [a_study().with_series("CR").in_(orthanc) for _ in range(3)]:
            orthanc.stable(study_id)

        assert orthanc.client.statistics().studies == 3


def test_the_lua_hook_leaves_earlier_callbacks_in_force(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.lua"
    earlier.write_text('function OnStableStudy(study)\n  print("earlier saw " .. study)\nend\n')
    with Door() as door:
        options = with_lua(door.port, tmp_path)
        options["LuaScripts"].insert(0, str(earlier))
        with OrthancServer(options=options) as orthanc:
            study_id = a_study().with_series("CR").in_(orthanc)
            door.wait_for(1)

            assert f"earlier saw {study_id}" in orthanc.log


def test_only_the_file_that_runs_inside_orthanc_is_under_its_licence() -> None:
    first_line = (TEMPLATES / "wake.py.j2").read_text().splitlines()[0]

    assert first_line == "# SPDX-License-Identifier: AGPL-3.0-or-later"
