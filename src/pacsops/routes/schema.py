"""The JSON Schema of routes.yml, by which editors complete and check while one types.

It is necessary, not sufficient: that names are unique, patterns compile, keywords exist and destinations are known
only the loader checks. `python -m pacsops.routes.schema` prints it; routes.schema.json beside this module is a copy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pacsops.routes.conditions import OF_ONE_TEXT, OF_SEVERAL_TEXTS
from pacsops.routes.durations import PATTERN
from pacsops.routes.fields import COMMON
from pacsops.routes.loader import MAX_DESTINATION_NAME, MAX_PATTERN, MAX_ROUTE_NAME
from pacsops.routes.model import Backoff, RetryPolicy, Send, Source, When

PATH = Path(__file__).with_name("routes.schema.json")

_CONDITIONS = {
    "equals": "The same text, upper and lower case aside.",
    "not_equals": "Another text, or the tag is absent.",
    "contains": "This text occurs somewhere in the value.",
    "not_contains": "This text does not occur, or the tag is absent.",
    "starts_with": "The value begins with this text.",
    "ends_with": "The value ends with this text.",
    "matches": "An RE2 regular expression found anywhere in the value; (?-i) makes it case-sensitive.",
    "in": "Equal to one of these.",
    "not_in": "Equal to none of these, or the tag is absent.",
}
_SEND = {
    Send.STUDY: "study: all of the study",
    Send.SERIES: "series: every series with a matching image, whole",
    Send.INSTANCE: "instance: every matching image by itself",
    Send.HIGHEST_RESOLUTION: "highest_resolution: the one matching image with the most pixels",
}
_WHEN = {
    When.INSTANCE: "instance: what has come leaves, what comes later follows",
    When.SERIES_STABLE: "series_stable: a series, once no image has come into it for a while",
    When.STUDY_STABLE: "study_stable: the study, likewise",
}


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "routes.yml: where DICOM studies are sent",
        **_mapping({"routes": {"type": "array", "items": {"$ref": "#/$defs/route"}}}, required=["routes"]),
        "$defs": {
            "route": _route(),
            "match": {
                "description": "What one single image must satisfy, all of it.",
                "type": "object",
                "minProperties": 1,
                "properties": {
                    name: {"description": description, "$ref": "#/$defs/conditions"}
                    for name, description in COMMON.items()
                },
                # Any DICOM keyword, or its snake_case spelling.
                "patternProperties": {"^[A-Za-z][A-Za-z0-9_]*$": {"$ref": "#/$defs/conditions"}},
                "additionalProperties": False,
            },
            "conditions": {
                "anyOf": [
                    {"$ref": "#/$defs/text", "description": "Short for equals."},
                    {"$ref": "#/$defs/texts", "description": "Short for in."},
                    {
                        **_mapping(
                            {
                                name: {"description": description, "$ref": f"#/$defs/{_operand(name)}"}
                                for name, description in _CONDITIONS.items()
                            }
                        ),
                        "minProperties": 1,
                    },
                ]
            },
            "text": {"type": ["string", "number"], "minLength": 1},
            "texts": {"type": "array", "items": {"$ref": "#/$defs/text"}, "minItems": 1},
            "pattern": {"$ref": "#/$defs/text", "maxLength": MAX_PATTERN},
            "destination": {"type": "string", "minLength": 1, "maxLength": MAX_DESTINATION_NAME},
        },
    }


def _operand(condition: str) -> str:
    if condition in OF_SEVERAL_TEXTS:
        return "texts"
    assert condition in OF_ONE_TEXT
    return "pattern" if condition == "matches" else "text"


def _route() -> dict[str, Any]:
    return _mapping(
        {
            "name": {
                "description": "Unique; history, metrics and deliveries call the route by it.",
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_ROUTE_NAME,
            },
            "description": {"description": "For people.", "type": "string"},
            "enabled": {
                "description": "false: skipped, but still checked.",
                "type": "boolean",
                "default": True,
            },
            "source": {
                "description": "Who received the images: Orthanc, or pacsops' own gateway.",
                "enum": [str(source) for source in Source],
                "default": str(Source.ORTHANC),
            },
            "when": {
                "description": f"With source: gateway; {'; '.join(_WHEN[when] for when in When)}",
                "enum": [str(when) for when in When],
                "default": str(When.INSTANCE),
            },
            "priority": {
                "description": "Lower is looked at, and delivered, first.",
                "type": "integer",
                "minimum": -1_000_000,
                "maximum": 1_000_000,
                "default": 100,
            },
            "match": {"$ref": "#/$defs/match"},
            "action": _mapping(
                {
                    "send": {
                        "description": "; ".join(_SEND[send] for send in Send),
                        "enum": [str(send) for send in Send],
                        "default": str(Send.STUDY),
                    },
                    "to": {
                        "description": "Names of destinations, as `orthanc destinations` lists them.",
                        "anyOf": [
                            {"$ref": "#/$defs/destination"},
                            {
                                "type": "array",
                                "items": {"$ref": "#/$defs/destination"},
                                "minItems": 1,
                                "uniqueItems": True,
                            },
                        ],
                    },
                },
                required=["to"],
            ),
            "retry": _retry(),
            "deliver_within": {
                "description": "90s, 20m, 2h, 1d: a delivery not done by then is overdue and shows everywhere.",
                "type": "string",
                "pattern": PATTERN,
            },
            "final": {
                "description": "true: once this route matches, later ones are not looked at.",
                "type": "boolean",
                "default": False,
            },
            "send_back": {
                "description": "true: images may return to the system they came from.",
                "type": "boolean",
                "default": False,
            },
        },
        required=["name", "match", "action"],
    )


def _retry() -> dict[str, Any]:
    default = RetryPolicy()
    return _mapping(
        {
            "max_attempts": {
                "description": "Attempts before the delivery is stuck.",
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": default.max_attempts,
            },
            "backoff": {
                "description": "How the wait grows: same, twice, thrice … (linear), or doubling (exponential).",
                "enum": [str(backoff) for backoff in Backoff],
                "default": str(default.backoff),
            },
            "initial_delay": {
                "description": "Seconds before the second attempt.",
                "type": "number",
                "minimum": 0,
                "maximum": 86_400,
                "default": int(default.initial_delay),
            },
        }
    )


def _mapping(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    closed = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**closed, "required": required} if required else closed


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(text())
