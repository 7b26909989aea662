"""What docs/routes.md shows is what the loader takes."""

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.unit.routes.builders import one_route

from pacsops.routes import load_routes
from pacsops.routes.conditions import NAMES
from pacsops.routes.fields import COMMON
from pacsops.routes.loader import ROUTE_KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "routes.md").read_text(encoding="utf-8")
CELLS = re.findall(r"^\| `(\w+)`(?: \(default\))? \|.*?(?:\| `(.+)` )?\|$", PAGE, re.MULTILINE)
EXAMPLES = [example.replace("\\|", "|") for name, example in CELLS if name in NAMES]


def test_the_first_example_loads() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    routes = load_routes(blocks[0])
    assert [route.name for route in routes.routes] == ["bone_length_to_ai", "ai_sr_to_modlink"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_of_a_condition_loads(example: str) -> None:
    assert one_route(f"{{{example}}}").routes[0].match


def test_every_key_field_and_condition_has_its_line() -> None:
    listed = [name for name, _ in CELLS]
    assert set(listed) >= {*ROUTE_KEYS, *COMMON, *NAMES}
    assert len(EXAMPLES) == len(NAMES)


def test_every_name_of_the_schema_is_on_the_page() -> None:
    """Keys, and the words that a key may be: what an editor offers is explained."""
    schema = json.loads(resources.files("pacsops.routes").joinpath("routes.schema.json").read_text("utf-8"))
    names = set(_names(schema))

    assert {"retry", "max_attempts", "highest_resolution", "deliver_within"} <= names
    assert sorted(name for name in names if not re.search(rf"`[^`]*\b{name}\b[^`]*`", PAGE)) == []


def _names(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _names(each)
    if isinstance(part, dict):
        yield from part.get("properties", {})
        yield from (word for word in part.get("enum", []) if isinstance(word, str))
        for each in part.values():
            yield from _names(each)
