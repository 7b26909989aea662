"""Every way to fail has a cause and a fix in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.delivery.model import ErrorClass
from pacsops.delivery.remedies import BY_CLASS, remedy

DOCUMENTED = [
    *(0xA700, 0xA7FF, 0xA900, 0xA9FF, 0xC000, 0xCFFF),  # PS3.4 table B.2-1
    *(0x0105, 0x0106, 0x0110, 0x0111, 0x0112, 0x0115, 0x0117, 0x0118, 0x0120, 0x0121, 0x0122, 0x0124),  # PS3.7 C.5
    *(0x0210, 0x0211, 0x0212, 0x0213),
]


def test_every_error_class_has_a_remedy() -> None:
    assert set(BY_CLASS) == set(ErrorClass)


@pytest.mark.parametrize("status", DOCUMENTED, ids=hex)
def test_a_status_of_the_standard_is_explained_more_closely_than_its_class(status: int) -> None:
    found = remedy("peer-status", status, "MODLINK")

    assert found.cause != BY_CLASS[ErrorClass.PEER_STATUS].cause


@given(st.sampled_from([*ErrorClass, None, "of a later version"]), st.none() | st.integers(0, 0xFFFF))
def test_whatever_failed_there_is_a_cause_and_a_fix_for_this_destination(
    kind: str | None, status: int | None
) -> None:
    found = remedy(kind, status, "MODLINK")

    assert found.cause.endswith(".")
    assert found.fix.endswith(".")
    assert "{" not in found.fix
