"""Which modalities can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pacsops.errors import InvalidDestination
from pacsops.orthanc.modalities import Modality, ModalityChange

MODLINK = Modality(name="MODLINK", aet="MODLINK_AE", host="10.0.0.7", port=104)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "MOD LINK"},
        {"name": "MOD/LINK"},
        {"name": "MODLINK\n"},
        {"name": "MÖDLINK"},
        {"aet": ""},
        {"aet": "A" * 17},
        {"aet": " LEADING"},
        {"aet": "TRAILING "},
        {"aet": "BACK\\SLASH"},
        {"aet": "UMLAUT_Ä"},
        {"local_aet": "A" * 17},
        {"host": ""},
        {"host": "two hosts"},
        {"host": "http://host/"},
        {"port": 0},
        {"port": 65536},
        {"timeout": -1},
    ],
)
def test_a_value_that_cannot_be_is_named(values: dict[str, Any]) -> None:
    [value] = values.values()

    with pytest.raises(InvalidDestination) as caught:
        replace(MODLINK, **values).check()

    assert repr(value) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "values", [{}, {"aet": "A" * 16}, {"aet": "A B"}, {"host": "::1"}, {"port": 65535}, {"name": "a-_9"}]
)
def test_an_unusual_but_right_value_passes(values: dict[str, Any]) -> None:
    replace(MODLINK, **values).check()


def test_a_destination_may_do_nothing_but_answer_unless_told() -> None:
    rights = {key: value for key, value in MODLINK.resource().items() if key.startswith("Allow")}

    assert [key for key, allowed in rights.items() if allowed] == ["AllowEcho"]


def test_the_diff_of_a_new_modality_has_nothing_before() -> None:
    diff = ModalityChange(changed=True, before=None, after=MODLINK).diff()

    assert diff["before"] == {}
    assert diff["after"]["host"] == "10.0.0.7"
