"""`pacsops gateway`: its processes run, come back when they die, and end together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dimse import in_loop
from tests.support.network import accepts, eventually
from tests.support.receiver import ReceivingHost

from pacsops.dimse import VERIFICATION, Context, associate

GATEWAY = ("pacsops.cli.services", "gateway")


@pytest.fixture
def host() -> Iterator[ReceivingHost]:
    with ReceivingHost(receivers=2) as host:
        yield host


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def part_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().split("\0")[-2]


@in_loop
async def test_a_gateway_is_its_receivers_and_a_forwarder_and_ends_as_one(host: ReceivingHost) -> None:
    host.start(*GATEWAY)
    eventually(lambda: len(host.children()) == 3, what="three processes")
    children = host.children()
    eventually(lambda: host.log.count("receiver_started") == 2, within=60, what="both receivers")
    assert sorted(map(part_of, children)) == ["forwarder", "receiver", "receiver"]
    async with associate(host.peer, "SCANNER", [Context(VERIFICATION)]) as association:
        await association.echo()

        assert host.stop() == 0

    assert not any(map(alive, children))
    assert not accepts(host.port)
    assert "gateway_stopped" in host.log


def test_a_part_that_died_is_started_again(host: ReceivingHost) -> None:
    host.start(*GATEWAY)
    host.wait_for_log("receiver_started", 2)
    (forwarder,) = (child for child in host.children() if part_of(child) == "forwarder")
    receiver = next(child for child in host.children() if part_of(child) == "receiver")

    os.kill(receiver, signal.SIGKILL)
    os.kill(forwarder, signal.SIGKILL)

    host.wait_for_log("receiver_started", 3)
    assert "part_died part=receiver status=SIGKILL wait_seconds=1.0" in host.log
    eventually(lambda: len(host.children()) == 3, what="three processes again")
    assert host.stop() == 0


def test_children_never_outlive_their_parent(host: ReceivingHost) -> None:
    host.start(*GATEWAY)
    host.wait_for_log("receiver_started", 2)
    children = host.children()

    host.kill()

    eventually(lambda: not any(map(alive, children)), what="the children ending")
    assert not accepts(host.port)


def test_a_host_without_a_gateway_says_so(host: ReceivingHost) -> None:
    host.start(*GATEWAY, GATEWAY_PORT=0)

    assert host.wait_for_process() == 2
    assert "this host has no gateway: GATEWAY_PORT is not set" in host.log


def test_a_spool_that_is_not_there_says_so(host: ReceivingHost) -> None:
    host.start(GATEWAY_SPOOL=host.folder / "missing")

    assert host.wait_for_process() == 2
    assert f"cannot keep images in {host.folder}/missing: No such file or directory" in host.log
    assert "is its disk mounted" in host.log
