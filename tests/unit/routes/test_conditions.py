import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.routes.conditions import (
    OF_ONE_TEXT,
    OF_SEVERAL_TEXTS,
    Condition,
    Contains,
    EndsWith,
    Equals,
    In,
    Matches,
    PatternRefused,
    StartsWith,
)

POSITIVE: list[Condition] = [
    Equals("knee"),
    Contains("knee"),
    StartsWith("knee"),
    EndsWith("knee"),
    Matches("knee"),
    In(("knee", "hip")),
]


@pytest.mark.parametrize("condition", POSITIVE, ids=str)
def test_upper_and_lower_case_are_the_same(condition: Condition) -> None:
    assert condition.holds("KNEE")
    assert condition.holds("Knee")
    assert not condition.holds("SHOULDER")


def test_case_is_folded_beyond_ascii() -> None:
    assert Equals("STRASSE").holds("Straße")
    assert Matches("ÉPAULE").holds("épaule gauche")


@pytest.mark.parametrize("condition", POSITIVE, ids=str)
@pytest.mark.parametrize("absent", [None, "", "  ", "\0", " \0"])
def test_an_absent_or_empty_tag_satisfies_no_positive_condition(condition: Condition, absent: str | None) -> None:
    assert not condition.holds(absent)


@pytest.mark.parametrize("absent", [None, "", "  "])
def test_an_absent_or_empty_tag_satisfies_every_negative_condition(absent: str | None) -> None:
    assert OF_ONE_TEXT["not_equals"]("x").holds(absent)
    assert OF_ONE_TEXT["not_contains"]("x").holds(absent)
    assert OF_SEVERAL_TEXTS["not_in"](("x", "y")).holds(absent)


def test_an_anything_pattern_does_not_hold_for_an_absent_tag() -> None:
    assert Matches(".*").holds("CR")
    assert not Matches(".*").holds(None)


@pytest.mark.parametrize("condition", POSITIVE, ids=str)
def test_padding_to_even_length_is_not_part_of_the_value(condition: Condition) -> None:
    assert condition.holds("KNEE ")
    assert condition.holds("KNEE\0")
    assert condition.holds(" KNEE")


@pytest.mark.parametrize("condition", POSITIVE, ids=str)
def test_one_component_of_several_is_enough(condition: Condition) -> None:
    assert condition.holds("SHOULDER\\ KNEE \\ELBOW")
    assert not condition.holds("SHOULDER\\ELBOW")


def test_all_components_together_can_be_compared_too() -> None:
    assert Equals("ORIGINAL\\PRIMARY").holds("ORIGINAL\\PRIMARY")
    assert Contains("AL\\PRI").holds("ORIGINAL\\PRIMARY")
    assert Matches(r"^original\\primary").holds("ORIGINAL\\PRIMARY\\OTHER")


def test_a_negative_condition_needs_every_component_to_differ() -> None:
    not_derived = OF_ONE_TEXT["not_equals"]("DERIVED")
    assert not not_derived.holds("DERIVED\\PRIMARY")
    assert not_derived.holds("ORIGINAL\\PRIMARY")


def test_a_patients_name_is_compared_whole() -> None:
    assert StartsWith("doe^").holds("DOE^JOHN")
    assert not Equals("DOE").holds("DOE^JOHN")


def test_a_pattern_is_found_anywhere_unless_anchored() -> None:
    assert Matches("bone.*length").holds("XR BONE LENGTH LEFT")
    assert not Matches("^bone").holds("XR BONE LENGTH")


def test_a_pattern_may_ask_for_case() -> None:
    assert Matches("(?-i)CT").holds("CT")
    assert not Matches("(?-i)CT").holds("ct")


def test_a_pattern_that_hangs_other_engines_answers() -> None:
    assert not Matches("(a+)+$").holds("a" * 100_000 + "!")


def test_a_value_that_is_no_proper_text_is_compared_all_the_same() -> None:
    assert Matches("knee").holds("KNEE \ud800")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(?=knee)", "no lookahead"),
        ("(?!knee)", "no negative lookahead"),
        ("(?<=left )knee", "no lookbehind"),
        ("(?<!left )knee", "no lookbehind"),
        (r"(knee)\1", r"no backreferences (\1)"),
        ("(?P<n>knee)(?P=n)", "no backreferences"),
        ("(?>knee)", "no atomic groups"),
        ("knee++", "no possessive repetition"),
        ("[knee", "missing ]"),
        (r"(\pL{100}){10}", "too large"),
    ],
)
def test_a_pattern_re2_lacks_is_refused_in_plain_words(
    pattern: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PatternRefused) as refused:
        Matches(pattern)
    assert words in str(refused.value)
    assert capfd.readouterr().err == ""


values = st.none() | st.text() | st.lists(st.text(max_size=4)).map("\\".join)
# Compared texts never are mere padding: the loader refuses those.
texts = st.text(min_size=1).filter(lambda text: text.strip(" \0"))


@given(value=values, text=texts)
def test_a_negative_condition_is_the_opposite_of_its_positive(value: str | None, text: str) -> None:
    for name in ("equals", "contains"):
        assert OF_ONE_TEXT[f"not_{name}"](text).holds(value) is not OF_ONE_TEXT[name](text).holds(value)
    several = (text, "other")
    assert OF_SEVERAL_TEXTS["not_in"](several).holds(value) is not OF_SEVERAL_TEXTS["in"](several).holds(value)


@given(value=values, text=texts)
def test_equal_values_begin_end_and_contain_what_they_equal(value: str | None, text: str) -> None:
    text = text.strip(" \0")
    if Equals(text).holds(value):
        assert Contains(text).holds(value)
        assert StartsWith(text).holds(value)
        assert EndsWith(text).holds(value)
        assert In(("other", text)).holds(value)


@given(value=values, texts=st.lists(texts, min_size=1))
def test_in_is_equal_to_any_of_them(value: str | None, texts: list[str]) -> None:
    assert In(tuple(texts)).holds(value) is any(Equals(text).holds(value) for text in texts)
