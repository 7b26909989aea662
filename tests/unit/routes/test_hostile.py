"""Whatever stands in the file, it loads or is refused with problems, in bounded time and memory."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.routes.builders import only_problem, problems

from pacsops.routes import Problem, RoutesInvalid, RouteTable, load_routes, read_routes
from pacsops.routes.conditions import NAMES

MEGABYTE = 1024 * 1024
EXAMPLE = Path(__file__).with_name("example_routes.yml").read_text(encoding="utf-8")


def loaded_or_refused(text: str) -> RouteTable | tuple[Problem, ...]:
    try:
        return load_routes(text, destinations=["MERCURE"])
    except RoutesInvalid as refusal:
        assert refusal.problems
        assert len(refusal.problems) <= 101
        assert all(len(str(problem)) < 1000 for problem in refusal.problems)
        return refusal.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * MEGABYTE, "nested more than 50 levels deep"),
        ("{a: " * (MEGABYTE // 4), "nested more than 50 levels deep"),
        ("- " * (MEGABYTE // 2), "nested more than 50 levels deep"),
        ("".join(f"k{n}: v\n" for n in range(60_000)), "more than 50000 values"),
        ("x" * (MEGABYTE + 1), "the file has 1048577 bytes, more than 1048576"),
        ("é" * (MEGABYTE // 2 + 1), "the file has 1048578 bytes"),
        ("routes: [\0]", "control character"),
        ("\x1b[31m", "control character"),
        ("routes: [\ud800]", "lone surrogate"),
        ("a: &a [*a]", "the alias *a stands inside what it stands for"),
        ("a: &a {b: &b [*a]}", "the alias *a stands inside what it stands for"),
        ("routes: *nowhere", "found undefined alias"),
        ("!!python/object/apply:os.system ['true']", "a value tagged"),
        ("\t" * MEGABYTE, "the file is empty"),
        ("routes:" + "\t" * 1000 + "\n\t- a", "a tab"),
    ],
    ids=lambda value: str(value)[:12].encode("ascii", "replace").decode() if isinstance(value, str) else None,
)
def test_a_hostile_file_is_refused_with_the_one_reason(text: str, message: str) -> None:
    assert message in only_problem(text)


def test_a_billion_laughs_are_counted_and_never_written_out() -> None:
    laughs = "".join(f"- &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert "more than 50000 values, aliases written out" in only_problem("- &l0 lol\n" + laughs)


def test_a_thousand_problems_are_cut_to_a_hundred_and_a_count() -> None:
    route = "- {name: r%d, match: {modality: CR}, action: {to: PACS}, typo: 1}\n"
    found = problems("routes:\n" + "".join(route % n for n in range(1000)))
    assert len(found) == 101
    assert (found[-1].line, str(found[-1])) == (102, "routes.yml:102: and 900 more from here on")


def test_many_misspelt_fields_are_answered_without_delay() -> None:
    fields = "".join(f"    StudyDescriptin{n}: x\n" for n in range(12_000))
    found = problems(f"routes:\n- name: r\n  action: {{to: A}}\n  match:\n{fields}")
    assert str(found[0]).endswith("(did you mean 'StudyDescription'?)")


def test_a_pattern_that_would_take_all_memory_is_refused() -> None:
    pattern = "routes: [{{name: r, match: {{modality: {{matches: '{}'}}}}, action: {{to: PACS}}}}]"
    # A megabyte and more once compiled: RE2 would take it, but there may be thousands.
    assert "too large" in only_problem(pattern.format(r"(\pL{10}){10}"))
    load_routes(pattern.format(r"\pL{10}"))


def test_fifty_levels_are_nested_deep_enough() -> None:
    assert "the file is a list" in only_problem("[" * 50 + "]" * 50)
    assert "nested more than 50 levels deep" in only_problem("[" * 51 + "]" * 51)


@pytest.mark.parametrize("end", range(0, len(EXAMPLE), 7))
def test_a_file_cut_short_anywhere_loads_or_is_refused(end: int) -> None:
    loaded_or_refused(EXAMPLE[:end])


@given(st.text())
def test_any_text_loads_or_is_refused(text: str) -> None:
    loaded_or_refused(text)


@given(st.text(alphabet="routes:[]{}-&*a!'\"\n #|>?,%@`~0", max_size=60))
def test_any_text_of_yaml_signs_loads_or_is_refused(text: str) -> None:
    loaded_or_refused(text)


@given(content=st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any_routes.yml"
    path.write_bytes(content)
    try:
        read_routes(path)
    except RoutesInvalid as refusal:
        assert refusal.problems


KEYS = st.sampled_from(
    [
        *("routes", "name", "description", "enabled", "priority", "match", "action", "send", "to"),
        *("retry", "max_attempts", "backoff", "initial_delay", "final", "send_back", "<<"),
        *("modality", "KVP", "PixelData", "source_aet", *NAMES),
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.sampled_from(["CR", "study", "MERCURE", "[a", "(?=a)", "linear", "\0", "\x85"])
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.binary(max_size=4)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | scalars, inner, max_size=5),
    max_leaves=20,
)
conditions = st.dictionaries(st.sampled_from(NAMES), anything)
# Free nesting rarely comes near a route, so let most of it be one.
near_routes = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "description": scalars,
        "enabled": scalars,
        "priority": scalars,
        "match": st.dictionaries(KEYS, st.dictionaries(st.sampled_from(NAMES), anything) | anything, max_size=3)
        | anything,
        "action": st.fixed_dictionaries({}, optional={"send": scalars, "to": anything}) | anything,
        "retry": st.fixed_dictionaries({}, optional={"max_attempts": scalars, "initial_delay": scalars}),
        "final": scalars,
    },
)


@given(anything | st.builds(lambda routes: {"routes": routes}, st.lists(near_routes, max_size=3)))
def test_any_structure_loads_or_is_refused(structure: Any) -> None:
    loaded_or_refused(yaml.safe_dump(structure, allow_unicode=True))
