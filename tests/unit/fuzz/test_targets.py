"""What is fuzzed, without the fuzzer: each target takes its own seeds, and what was found once."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import seeds
from fuzz.conversations import Conversations
from fuzz.targets import targets

TARGETS = targets()


def test_every_target_has_seeds() -> None:
    assert tuple(TARGETS) == seeds.TARGETS


@pytest.mark.parametrize("name", seeds.TARGETS)
def test_a_target_takes_its_seeds(name: str, tmp_path: Path) -> None:
    assert seeds.write(name, tmp_path) > 4
    for seed in tmp_path.iterdir():
        TARGETS[name].run(seed.read_bytes())


def said(name: str) -> set[tuple[int, int | None]]:
    """Fields and statuses of all that our side says in answer to a target's seeds."""
    conversations = Conversations()
    return {
        (command.field, command.status) for seed in seeds.of(name) for command in getattr(conversations, name)(seed)
    }


@pytest.mark.parametrize("name", ["acceptor", "acceptor_messages"])
def test_seeds_have_an_acceptor_perform_everything(name: str) -> None:
    answered = {(0x8030, 0), (0x8001, 0), (0x8020, 0xFF00), (0x8020, 0xFE00), (0x8021, 0x0211)}
    assert answered <= said(name)


@pytest.mark.parametrize("name", ["requestor", "requestor_messages"])
def test_seeds_have_a_requestor_ask_everything(name: str) -> None:
    assert said(name) == {(field, None) for field in (0x0030, 0x0001, 0x0020, 0x0FFF)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gateway_yml", b"a: 2001-99-99"),
        ("gateway_yml", b"a: !!int ''"),
        ("gateway_yml", b"a: !!bool maybe"),
        ("gateway_yml", b"[" * 4000),
    ],
)
def test_what_failed_once_does_not_fail_again(name: str, content: bytes) -> None:
    TARGETS[name].run(content)
