"""The figures on the page are the measured ones, and say rightly who is better."""

import json

import pytest
from benchmarks.measure import Figure, in_turns, percentile
from benchmarks.report import BEGIN, END, as_json, with_measured

FASTER = Figure(name="claims", value=300.0, unit="deliveries/s", peer="a queue", peer_value=150.0)
QUICKER = Figure(name="a claim", value=2.0, unit="ms", peer="a queue", peer_value=3.0)
ALONE = Figure(name="memory", value=53.25, unit="MiB")


def test_twice_the_peers_rate_is_twice_better() -> None:
    assert FASTER.ratio == 2.0


def test_two_thirds_of_the_peers_time_is_one_and_a_half_times_better() -> None:
    assert QUICKER.ratio == 1.5


def test_the_json_has_every_key_also_without_a_peer() -> None:
    faster, alone = json.loads(as_json([FASTER, ALONE]))
    assert faster == {
        "name": "claims",
        "value": 300.0,
        "unit": "deliveries/s",
        "peer": "a queue",
        "peer_value": 150.0,
        "ratio": 2.0,
    }
    assert alone["ratio"] is None


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = f"before\n{BEGIN}\nlast year's figures\n{END}\nafter\n"
    once = with_measured(page, [QUICKER], "On a machine.")
    assert once.startswith(f"before\n{BEGIN}\nOn a machine.\n")
    assert once.endswith(f"| a claim | 2 ms | a queue | 3 ms | 1.5 |\n{END}\nafter\n")
    assert "last year" not in once
    assert with_measured(once, [QUICKER], "On a machine.") == once


@pytest.mark.parametrize("page", ["nothing", f"{BEGIN} only", f"{END} first {BEGIN}"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="measured"):
        with_measured(page, [FASTER], "On a machine.")


def test_p95_of_fifteen_is_the_slowest() -> None:
    assert percentile([float(n) for n in range(15)], 95) == 14.0
    assert percentile([float(n) for n in range(100)], 95) == 94.0


def test_measurements_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    ours, peers = iter([99.0, 1.0, 2.0, 3.0]), iter([99.0, 10.0, 30.0, 20.0])

    def our_turn() -> float:
        calls.append("ours")
        return next(ours)

    def peers_turn() -> float:
        calls.append("peer's")
        return next(peers)

    assert in_turns(our_turn, peers_turn, rounds=3) == [2.0, 20.0]
    assert calls == ["ours", "peer's"] * 4
