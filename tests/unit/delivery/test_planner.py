"""The fingerprint of a promise's contents, and a study's header as it fits into the database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.deliveries import identity

from pacsops.delivery.planner import fingerprint

instance_ids = st.from_regex(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", fullmatch=True)
contents = st.lists(instance_ids, unique=True, max_size=6)


@given(contents, st.randoms())
def test_the_order_of_the_instances_does_not_matter(instances: list[str], dice: object) -> None:
    shuffled = list(instances)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]

    assert fingerprint(shuffled) == fingerprint(instances)


@given(contents, contents)
def test_other_instances_have_another_fingerprint(one: list[str], other: list[str]) -> None:
    assert (fingerprint(one) == fingerprint(other)) is (set(one) == set(other))


def test_a_fingerprint_stays_what_it_was() -> None:
    # Rows written by older versions hold these: another value would plan every study anew.
    assert fingerprint(["b", "a"]) == "7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78"


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_header_is_cut_to_what_fits_and_holds_no_nul(name: str, description: str) -> None:
    columns = identity(patient_name=name, study_description=description).columns()

    assert len(columns["patient_name"]) <= 256
    assert "\0" not in columns["patient_name"] + columns["study_description"]
    assert columns["accession_number"] is None
    assert name.startswith(columns["patient_name"]) or "\0" in name
