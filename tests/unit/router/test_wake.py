"""Where Orthanc's hooks knock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from pacsops.delivery.loop import Wake
from pacsops.errors import SettingsError
from pacsops.router.wake import WakeListener


class _Counted(Wake):
    def __init__(self) -> None:
        super().__init__()
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1


@pytest.fixture
def bell() -> _Counted:
    return _Counted()


@pytest.fixture
def listener(bell: _Counted) -> Iterator[WakeListener]:
    listener = WakeListener("127.0.0.1", 0, bell)
    listener.start()
    yield listener
    listener.stop()


def test_a_knock_rings(listener: WakeListener, bell: _Counted) -> None:
    assert requests.post(f"http://127.0.0.1:{listener.port}/wake", timeout=5).status_code == 204
    assert bell.rings == 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("POST", "/wake/../etc"), ("GET", "/wake")])
def test_anything_else_does_not(listener: WakeListener, bell: _Counted, method: str, path: str) -> None:
    answer = requests.request(method, f"http://127.0.0.1:{listener.port}{path}", timeout=5)

    assert answer.status_code in (404, 501)
    assert bell.rings == 0


def test_a_second_router_on_the_port_is_told_what_to_do(listener: WakeListener, bell: _Counted) -> None:
    with pytest.raises(SettingsError, match=str(listener.port)) as refused:
        WakeListener("127.0.0.1", listener.port, bell)
    assert "ROUTER_WAKE_PORT" in (refused.value.hint or "")
