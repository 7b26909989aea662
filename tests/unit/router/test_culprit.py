"""Which images a failed job may have stopped at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pacsops.router.culprit import candidates


@given(st.integers(1, 9000), st.data())
def test_the_image_a_job_stopped_at_is_among_the_candidates_however_orthanc_rounds(
    total: int, data: st.DataObject
) -> None:
    stopped_at = data.draw(st.integers(0, total - 1))
    progress = 100 * stopped_at / total
    names = [str(number) for number in range(total)]

    assert names[stopped_at] in candidates(names, int(progress))
    assert names[stopped_at] in candidates(names, round(progress))


def test_an_enormous_study_asks_for_none_rather_than_for_hundreds() -> None:
    assert candidates([str(number) for number in range(50_000)], 50) == ()


def test_of_a_small_study_the_candidate_is_certain() -> None:
    assert candidates(["a", "b", "c", "d"], 50) == ["c"]
