"""gateway.yml as text: whatever stands there, it is a configuration or refused with what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import Configuration, parse

WORKER = "{host: 10.9.0.11, port: 11112, aet: AI1}"


def test_an_empty_mapping_names_nobody() -> None:
    assert parse("{}") == Configuration()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "null"])
def test_an_empty_file_is_what_a_full_disk_leaves_and_is_refused(text: str) -> None:
    with pytest.raises(GatewayConfigurationError, match="the file: a mapping is wanted"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("peers: [", r"line \d: this is not valid YAML"),
        ("[" * 10_000, "line 1: nested more than 50 levels deep"),
        ("- " * 100_000, "line 1: nested more than 50 levels deep"),
        ("x" * (1 << 20) + "x", "more than 1048576"),
        ("peers: &peers [*peers]", r"line 1: the alias \*peers stands inside what it stands for"),
        ("peers: 2001-99-99", "peers: a list is wanted"),
        ("peers: [{aet: !!int ''}]", r"peers\[0\].aet: an AE title is wanted"),
        ("private_sop_classes: !!bool perhaps", "private_sop_classes: true or false is wanted"),
        ("{[peers]: 1}", "the file: unknown key 'a list'"),
        ("x" * 1000 + ": 1", "the file: unknown key 'x{59}…'"),
        ("destinations: {A: {host: h, port: 0x1F, aet: A}}", "destinations.A.port: a number from 1 to 65535"),
    ],
    ids=range(11),
)
def test_a_hostile_file_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(GatewayConfigurationError, match=problem) as refused:
        parse(text)
    assert refused.value.hint
    assert len(str(refused.value)) < 1000


def test_problems_are_told_of_to_a_hundred() -> None:
    with pytest.raises(GatewayConfigurationError, match="has 1000 problems") as refused:
        parse("".join(f"typo{number}: 1\n" for number in range(1000)))
    assert len(str(refused.value).splitlines()) == 101


def test_dates_are_text_and_an_alias_is_what_it_stands_for() -> None:
    said = parse(f"destinations: {{A: &w {WORKER}, B: *w}}\nresults: {{study_description: 2024-01-02}}\n")

    assert {one.port for one in said.destinations.values()} == {11112}
    assert said.results == {"study_description": "2024-01-02"}


@given(st.text() | st.text(alphabet="peersaot:[]{}-&*a!'\"\n 0129|#>?", max_size=60))
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    try:
        assert isinstance(parse(text), Configuration)
    except GatewayConfigurationError as refused:
        assert "gateway.yml has " in str(refused)
