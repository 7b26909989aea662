"""Hints: a burst waits for who listens, and nobody waits for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.dimse import in_loop

from pacsops.gateway.hints import Hints
from pacsops.gateway.telling import Teller


@in_loop
async def test_a_burst_is_heard_of_whole_by_who_was_busy_meanwhile(tmp_path: Path) -> None:
    names = [f"1.2.{number}/1.2.3.{number}.dcm" for number in range(2000)]
    hints, teller = Hints(tmp_path), Teller(tmp_path)
    for name in names:
        teller.tell(name)
    heard: list[str] = []
    while len(heard) < len(names):
        some = await asyncio.to_thread(hints.gather, 200, seconds=0.01)
        assert some, f"only {len(heard)} were heard of"
        assert len(some) <= 200
        heard += some
    teller.close()
    hints.close()

    assert sorted(heard) == sorted(names)


@in_loop
async def test_where_nobody_listens_nothing_is_kept(tmp_path: Path) -> None:
    teller = Teller(tmp_path)
    teller.tell("1.2/1.3.dcm")
    listening = Hints(tmp_path)
    teller.tell("1.2/1.4.dcm")

    assert listening.gather(10, seconds=0.01) == ["1.2/1.4.dcm"]
    listening.close()
    teller.close()
