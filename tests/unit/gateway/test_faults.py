"""Faults on purpose: what is in force, where, and that nothing but a drill can put one there."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.errors import SpoolUnwritable
from pacsops.gateway import faults
from pacsops.gateway.faults import Faults, Injected


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_faults_add_up_until_they_are_cleared(tmp_path: Path) -> None:
    faults.inject(tmp_path, "reject_all")
    faults.inject(tmp_path, "io_delay_ms", 20)
    assert str(faults.inject(tmp_path, "io_delay_ms", 200)) == "reject_all, io_delay_ms 200"
    assert faults.clear(tmp_path) == Injected(reject_all=True, io_delay_ms=200)
    assert not faults.injected(tmp_path)
    assert not faults.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_receiver_notices_within_half_a_second_and_looks_no_more_often(tmp_path: Path) -> None:
    clock = Clock()
    receiver = Faults(tmp_path, allowed=True, clock=clock)
    assert not receiver.rejects()

    faults.inject(tmp_path, "reject_all")
    clock.now = 0.4
    assert not receiver.rejects()
    clock.now = 0.5
    assert receiver.rejects()

    faults.clear(tmp_path)
    clock.now = 1.0
    assert not receiver.rejects()


def test_each_fault_does_what_it_says(tmp_path: Path) -> None:
    def receiver() -> Faults:
        return Faults(tmp_path, allowed=True)

    faults.inject(tmp_path, "disk_full")
    with pytest.raises(OSError, match="space") as full:
        asyncio.run(receiver().before_write())
    assert full.value.errno == errno.ENOSPC
    assert not receiver().rejects()
    faults.clear(tmp_path)

    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    faults.inject(tmp_path, "io_delay_ms", 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        asyncio.run(receiver().before_write())
    assert slept == [0.04]
    faults.clear(tmp_path)

    assert not any(receiver().fails() for _ in range(100))
    faults.inject(tmp_path, "random_fail_rate", 0.5)
    dice = receiver()
    assert {dice.fails() for _ in range(200)} == {True, False}
    faults.inject(tmp_path, "random_fail_rate", 1)
    dice = receiver()
    assert all(dice.fails() for _ in range(100))


def test_a_site_for_patients_has_none_whoever_wrote_the_file(tmp_path: Path) -> None:
    for fault in faults.KINDS:
        faults.inject(tmp_path, fault)
    receiver = Faults(tmp_path, allowed=False)

    assert not receiver.rejects()
    assert not any(receiver.fails() for _ in range(100))
    asyncio.run(receiver.before_write())


@hypothesis.settings(deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_a_file_that_is_not_ours_stops_no_receiver(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    spool = tmp_path_factory.getbasetemp()
    (spool / faults.FILE).write_bytes(content)
    assert not faults.injected(spool)


@pytest.mark.parametrize(
    "said",
    [
        '{"io_delay_ms": -5, "random_fail_rate": 2, "reject_all": "yes", "disk_full": 1}',
        '{"io_delay_ms": 1e300, "random_fail_rate": NaN}',
        '{"io_delay_ms": true, "later": true}',
        "[]",
        "[" * 4000,
    ],
)
def test_values_nobody_could_inject_are_not_heeded(tmp_path: Path, said: str) -> None:
    (tmp_path / faults.FILE).write_text(said)
    assert not faults.injected(tmp_path)


@pytest.mark.parametrize(
    ("fault", "value"),
    [("reject_all", 1), ("disk_full", 0.5), ("io_delay_ms", 0), ("io_delay_ms", 60_001), ("random_fail_rate", 1.1)],
)
def test_a_value_that_cannot_be_changes_nothing(tmp_path: Path, fault: str, value: float) -> None:
    with pytest.raises(ValueError, match=fault):
        faults.inject(tmp_path, fault, value)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnwritable, match=r"\.faults\.json: No such file"):
        faults.inject(tmp_path / "nowhere", "disk_full")
