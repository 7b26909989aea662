"""What is fuzzed, without the fuzzer: each target takes its own seeds, and what was found once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from fuzz import seeds
from fuzz.conversations import Conversations, Fault
from fuzz.targets import Target, targets

from pacsops.dimse.connection import Connection
from pacsops.gateway import receiver
from pacsops.gateway.durable import Keeper, Kept
from pacsops.gateway.part import Part


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Target]:
    return targets(tmp_path_factory.mktemp("spool"))


@pytest.fixture(autouse=True)
def _records_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged must not keep anything open."""
    caplog.set_level(logging.DEBUG, "pacsops")


def test_every_target_has_seeds(fuzzed: Mapping[str, Target]) -> None:
    assert tuple(fuzzed) == seeds.TARGETS


@pytest.mark.parametrize("name", seeds.TARGETS)
def test_a_target_takes_its_seeds(name: str, fuzzed: Mapping[str, Target], tmp_path: Path) -> None:
    assert seeds.write(name, tmp_path) > 4
    for seed in tmp_path.iterdir():
        fuzzed[name].run(seed.read_bytes())


def said(name: str, spool: Path) -> set[tuple[int, int | None]]:
    """Fields and statuses of all that our side says in answer to a target's seeds."""
    conversations = Conversations(spool)
    return {
        (command.field, command.status) for seed in seeds.of(name) for command in getattr(conversations, name)(seed)
    }


@pytest.mark.parametrize("name", ["acceptor", "acceptor_messages"])
def test_seeds_have_an_acceptor_perform_everything(name: str, tmp_path: Path) -> None:
    answered = {(0x8030, 0), (0x8001, 0), (0x8020, 0xFF00), (0x8020, 0xFE00), (0x8021, 0x0211)}
    assert answered <= said(name, tmp_path)


@pytest.mark.parametrize("name", ["requestor", "requestor_messages"])
def test_seeds_have_a_requestor_ask_everything(name: str, tmp_path: Path) -> None:
    assert said(name, tmp_path) == {(field, None) for field in (0x0030, 0x0001, 0x0020, 0x0FFF)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gateway_yml", b"a: 2001-99-99"),
        ("gateway_yml", b"a: !!int ''"),
        ("gateway_yml", b"a: !!bool maybe"),
        ("gateway_yml", b"[" * 4000),
    ],
)
def test_what_failed_once_does_not_fail_again(name: str, content: bytes, fuzzed: Mapping[str, Target]) -> None:
    fuzzed[name].run(content)


def test_a_handler_with_a_defect_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "is_uid", lambda uid: 1 // 0)

    with pytest.raises(Fault, match="a handler failed: ZeroDivisionError in the store handler"):
        said("acceptor_messages", tmp_path)


def test_a_success_without_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(_: Keeper, part: Part, study_uid: str, sop_instance_uid: str) -> Kept:
        part.close()
        return Kept(f"{study_uid}/{sop_instance_uid}.dcm", True, 1)

    monkeypatch.setattr(Keeper, "keep", forgets)

    with pytest.raises(Fault, match="success was answered for what is not in the spool"):
        said("acceptor_messages", tmp_path)


def test_a_task_that_goes_on_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[asyncio.Task[None]] = []

    async def leaves(connection: Connection, seconds: float) -> None:
        left.append(asyncio.create_task(asyncio.sleep(1e9)))
        connection.begin_close()

    monkeypatch.setattr(Connection, "close", leaves)

    with pytest.raises(Fault, match="1 tasks are left over"):
        Conversations(tmp_path).acceptor(b"")
