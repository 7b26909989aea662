"""routes.schema.json, by which editors complete, agrees with the loader."""

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.routes.test_hostile import EXAMPLE

from pacsops.routes import RoutesInvalid, load_routes
from pacsops.routes import schema as routes_schema
from pacsops.routes.conditions import OF_ONE_TEXT, OF_SEVERAL_TEXTS

VALIDATOR = jsonschema.Draft202012Validator(json.loads(routes_schema.PATH.read_text(encoding="utf-8")))

texts = st.sampled_from(["CR", "STANFORDAIDE", "x y", "épaule", "No"]) | st.integers(0, 99)
conditions = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(OF_ONE_TEXT, texts),
        **dict.fromkeys(OF_SEVERAL_TEXTS, st.lists(texts, min_size=1, max_size=3)),
    },
).filter(bool)
fields = st.sampled_from(["modality", "source_aet", "patient_name", "KVP", "body_part_examined", "dBdt"])
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=130)
routes = st.fixed_dictionaries(
    {
        "name": names,
        "match": st.dictionaries(
            fields, texts | st.lists(texts, min_size=1, max_size=3) | conditions, min_size=1, max_size=3
        ),
        "action": st.fixed_dictionaries(
            {"to": names | st.lists(names, min_size=1, max_size=3)},
            optional={"send": st.sampled_from(["study", "series", "instance", "highest_resolution"])},
        ),
    },
    optional={
        "description": names,
        "enabled": st.booleans(),
        "priority": st.integers(-2_000_000, 2_000_000),
        "retry": st.fixed_dictionaries(
            {},
            optional={
                "max_attempts": st.integers(0, 101),
                "backoff": st.sampled_from(["constant", "linear", "exponential"]),
                "initial_delay": st.integers(-1, 86_401) | st.floats(0, 90_000, width=32),
            },
        ),
        "deliver_within": st.sampled_from(["20m", "1d", "31d", "90", "m", "0s"]) | st.integers(0, 90),
        "final": st.booleans(),
        "send_back": st.booleans(),
    },
)


def loads(text: str) -> bool:
    try:
        load_routes(text)
    except RoutesInvalid:
        return False
    return True


def test_the_committed_schema_is_what_the_code_says() -> None:
    assert routes_schema.PATH.read_text(encoding="utf-8") == routes_schema.text(), (
        "run `python -m pacsops.routes.schema > src/pacsops/routes/routes.schema.json`"
    )
    jsonschema.Draft202012Validator.check_schema(routes_schema.schema())


def test_the_schema_takes_the_example() -> None:
    VALIDATOR.validate(yaml.safe_load(EXAMPLE))


@given(st.lists(routes, max_size=3))
def test_whatever_the_loader_takes_the_schema_takes(found: list[dict[str, Any]]) -> None:
    document = {"routes": found}
    if loads(yaml.safe_dump(document, allow_unicode=True)):
        VALIDATOR.validate(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "rotes: []",
        "{routes: [], version: 1}",
        "routes: {}",
        "routes: [5]",
        "routes: [{name: r, action: {to: A}}]",
        "routes: [{name: r, match: {}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: CR}}]",
        "routes: [{match: {modality: CR}, action: {to: A}}]",
        "routes: [{name: 5, match: {modality: CR}, action: {to: A}}]",
        "routes: [{name: '', match: {modality: CR}, action: {to: A}}]",
        "routes: [{name: r, mach: {modality: CR}, match: {modality: CR}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: null}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: true}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: []}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: {}}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: {equal: CR}}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: {equals: [CR]}}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: {in: CR}}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: {contains: ''}}, action: {to: A}}]",
        "routes: [{name: r, match: {'a b': CR}, action: {to: A}}]",
        "routes: [{name: r, match: {modality: CR}, action: {}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: []}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: [A, A]}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: 5}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A, send: all}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, enabled: 1}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, priority: high}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, retry: {max_attempts: 0}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, retry: {max_attempts: 1.5}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, retry: {backoff: never}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, retry: {initial_delay: -1}}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, retry: null}]",
        "routes: [{name: r, match: {modality: CR}, action: {to: A}, description: 5}]",
    ],
)
def test_a_file_of_the_wrong_shape_fails_both(text: str) -> None:
    assert not loads(text)
    assert not VALIDATOR.is_valid(yaml.safe_load(text))
