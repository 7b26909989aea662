from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.routes.builders import only_problem, problem_with_match, problems, table

from pacsops.routes import RoutesInvalid, load_routes, read_routes, unknown_destinations


def test_what_is_not_said_has_its_default() -> None:
    route = table("routes: [{name: r, match: {modality: CR}, action: {to: PACS}}]").routes[0]
    assert (route.enabled, route.priority, route.send, route.final, route.send_back) == (
        True,
        100,
        "study",
        False,
        False,
    )
    assert (route.retry.max_attempts, route.retry.backoff, route.retry.initial_delay) == (3, "exponential", 60)
    assert route.destinations == ("PACS",)
    assert route.description == ""


@pytest.mark.parametrize(
    ("said", "seconds"), [("90s", 90), ("20m", 1200), ("2h", 7200), ("30d", 30 * 86_400), ('"1d"', 86_400)]
)
def test_a_service_level_is_a_number_and_its_unit(said: str, seconds: int) -> None:
    text = f"routes: [{{name: r, match: {{modality: CR}}, action: {{to: PACS}}, deliver_within: {said}}}]"
    assert table(text).routes[0].deliver_within == seconds


def test_a_file_may_route_nothing() -> None:
    assert load_routes("routes: []").routes == ()


def test_a_block_may_be_written_once_and_referred_to() -> None:
    routes = table(
        """
        routes:
        - {name: a, match: {modality: CR}, action: {to: PACS}, retry: &patient {max_attempts: 50}}
        - {name: b, match: {modality: SR}, action: {to: PACS}, retry: *patient}
        """
    ).routes
    assert [route.retry.max_attempts for route in routes] == [50, 50]


def test_every_problem_is_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """\
        routes:
          - name: to_ai
            mach: {modality: CR}
            match: {modality: {equal: CR}}
            action: {send: stduy, to: MERCUR}
            retry: {max_attempts: 0}
          - match: {patient_id: {matches: "[a"}}
            action: {to: []}
        """,
        ["MERCURE", "MODLINK"],
    )
    assert [str(problem) for problem in found] == [
        "routes.yml:3: route 'to_ai': unknown key 'mach' (did you mean 'match'?)",
        "routes.yml:4: route 'to_ai': unknown key 'equal' (did you mean 'equals'?)",
        "routes.yml:5: route 'to_ai': `send` is 'stduy' (did you mean 'study'?)",
        "routes.yml:5: route 'to_ai': unknown destination 'MERCUR' (did you mean 'MERCURE'?)",
        "routes.yml:6: route 'to_ai': `max_attempts` is '0' (allowed: whole numbers from 1 to 100)",
        "routes.yml:7: `name` is missing; every route has a name of its own",
        "routes.yml:7: the pattern '[a' cannot be used: missing ]: [a",
        "routes.yml:8: `to` is an empty list; name at least one destination",
    ]


def test_a_problem_says_where_what_and_what_instead_for_programs_too() -> None:
    (problem,) = problems("routes:\n- {name: r, match: {modality: CR}, action: {send: al, to: PACS}}")
    assert problem.as_dict() == {
        "file": "routes.yml",
        "line": 2,
        "column": 51,
        "route": "r",
        "message": "`send` is 'al'",
        "allowed": "study, series, instance, highest_resolution",
        "suggestion": None,
    }


def test_the_error_holds_every_problem_and_the_next_step() -> None:
    with pytest.raises(RoutesInvalid) as caught:
        load_routes("rotes: []", name="/etc/routes.yml")
    assert str(caught.value) == (
        "/etc/routes.yml is not valid, 2 problems:\n"
        "  /etc/routes.yml:1: unknown key 'rotes' (did you mean 'routes'?)\n"
        "  /etc/routes.yml:1: `routes` is missing; to route nothing write `routes: []`"
    )
    assert caught.value.hint == "correct it, then `orthanc routes --validate`"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; to route nothing write `routes: []`"),
        ("# nothing yet\n", "the file is empty"),
        ("~", "the file is empty"),
        ("routes:", "`routes` is nothing, expected a list; to route nothing write `routes: []`"),
        ("routes: {}", "`routes` is a mapping, expected a list"),
        ("- name: r", "the file is a list, expected `routes:`"),
        ("routes: [5]", "a route is a number, expected keys"),
        ("routes: []\nroutes: []", "the key 'routes' is given twice, first in line 1"),
        ("routes: []\n---\nroutes: []", "a second document begins here"),
        ("routes:\n\t- name: r", "a tab; YAML indents with spaces"),
        ("routes: [", "this is not valid YAML"),
        ("routes: !secret []", "a value tagged '!secret'"),
        ("routes: []\n? [a]\n: b", "a key must be text, this is a list"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_words(text: str, message: str) -> None:
    assert message in only_problem(text)


ROUTE = {"name": "r", "match": "{modality: CR}", "action": "{to: PACS}"}


def problem_with(**keys: str | None) -> str:
    entries = (f"{key}: {value}" for key, value in (ROUTE | keys).items() if value is not None)
    return only_problem(f"routes: [{{{', '.join(entries)}}}]")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": None}, "`name` is missing"),
        ({"name": "7"}, "`name` is not usable: a number"),
        ({"name": "off"}, "what YAML reads as a number or as true or false, in quotes"),
        ({"name": "''"}, "`name` is not usable"),
        ({"name": '"a\\nb"'}, "`name` is not usable"),
        ({"name": "x" * 129}, "`name` is not usable"),
        ({"match": None}, "`match` is missing; to match every image write `match: {modality: {matches"),
        ({"match": "{}"}, "`match` is empty; to match every image write `match: {modality: {matches"),
        ({"match": ""}, "`match` is empty"),
        ({"match": "CR"}, "`match` is text, expected fields indented under it"),
        ({"action": None}, "`action` is missing"),
        ({"action": ""}, "`action` is nothing, expected keys (send, to)"),
        ({"action": "{send: study}"}, "`to` is missing"),
        ({"action": "{to: []}"}, "`to` is an empty list"),
        ({"action": "{to: [A, A]}"}, "the destination 'A' is given twice"),
        ({"action": "{to: [A, 7]}"}, "`to` holds a number that cannot be a destination"),
        ({"action": "{to: [A, [B]]}"}, "`to` holds a list that cannot be a destination"),
        ({"action": "{to: A, too: B}"}, "unknown key 'too' (did you mean 'to'?)"),
        ({"action": "{to: A, send: [study]}"}, "`send` is a list (allowed: study, series, instance"),
        ({"enabled": "yes"}, "`enabled` is 'yes' (allowed: true, false)"),
        ({"final": "'true'"}, "`final` is the text 'true' (allowed: true, false)"),
        ({"priority": "high"}, "`priority` is 'high'"),
        ({"priority": "010"}, "`priority` is '010'"),
        ({"priority": "1.5"}, "`priority` is '1.5'"),
        ({"priority": "99999999999"}, "allowed: whole numbers from -1000000 to 1000000"),
        ({"retry": ""}, "`retry` is nothing, expected keys (max_attempts, backoff, initial_delay)"),
        ({"retry": "{max_attempts: 101}"}, "`max_attempts` is '101'"),
        ({"retry": "{max_attempts: 3, max_attempts: 4}"}, "the key 'max_attempts' is given twice"),
        ({"retry": "{backoff: exponental}"}, "did you mean 'exponential'?"),
        ({"retry": "{initial_delay: -1}"}, "`initial_delay` is '-1' (allowed: seconds from 0 to 86400)"),
        ({"deliver_within": "20"}, "`deliver_within` is '20' (allowed: 90s, 20m, 2h, 1d, up to 30d)"),
        ({"deliver_within": "20 min"}, "`deliver_within` is '20 min'"),
        ({"deliver_within": "0m"}, "`deliver_within` is '0m'"),
        ({"deliver_within": "31d"}, "`deliver_within` is '31d'"),
        ({"deliver_within": "[20m]"}, "`deliver_within` is a list"),
        ({"retry": "{initial_delay: .inf}"}, "`initial_delay` is '.inf'"),
        ({"retry": "{initial_delay: 1 min}"}, "`initial_delay` is '1 min'"),
        ({"description": "5"}, "`description` is a number, expected text"),
        ({"<<": "{priority: 1}"}, "merge keys"),
        ({"on_success": "delete"}, "unknown key 'on_success' (allowed: name, description,"),
    ],
)
def test_a_route_with_a_slip_is_refused_and_says_how_it_should_be(keys: dict[str, str | None], message: str) -> None:
    assert message in problem_with(**keys)


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("{modality: {}}", "`modality` has no condition (allowed: equals, not_equals, contains"),
        ("{modality: }", "`modality` has no value"),
        ("{modality: []}", "`modality` is an empty list"),
        ("{modality: {in: []}}", "`in` is an empty list"),
        ("{modality: {in: CR}}", "`in` is text, expected a list: [CT, MR]"),
        ("{modality: {equals: [CR]}}", "`equals` takes one value, not a list"),
        ("{modality: {equals: NO}}", 'YAML reads NO as true or false; if text is meant, write "NO"'),
        ("{modality: [CR, null]}", "`an entry of modality` has no value"),
        ("{modality: {contains: ''}}", "`contains` compares with an empty text"),
        ("{modality: {equals: '  '}}", "`equals` compares with an empty text"),
        ("{modality: {Contains: x}}", "unknown key 'Contains' (did you mean 'contains'?)"),
        ("{modality: {equals: {a: b}}}", "`equals` is a mapping, expected text"),
        ("{modality: CR, Modality: CT}", "'Modality' is the field of line 1 in another spelling"),
        ("{modality: CR, modality: CT}", "the key 'modality' is given twice"),
        ("{modality: {matches: '(?=x)'}}", "RE2 has no lookahead"),
        (f"{{modality: {{matches: {'x' * 1001}}}}}", "the pattern is longer than 1000 characters"),
        ("{modality: !!python/name:os.system x}", "a value tagged 'tag:yaml.org,2002:python/name:os.system'"),
    ],
)
def test_a_condition_with_a_slip_is_refused_and_says_how_it_should_be(match: str, message: str) -> None:
    assert message in problem_with_match(match)


def test_a_name_taken_twice_says_where_it_was_first() -> None:
    route = "- {name: r, match: {modality: CR}, action: {to: PACS}}\n"
    assert only_problem("routes:\n" + route * 2) == (
        "routes.yml:3: route 'r': the name is taken by the route in line 2; names are unique"
    )


def test_a_disabled_route_is_checked_all_the_same() -> None:
    assert "unknown key" in problem_with(enabled="false", typo="1")


TWO_MENTIONS = """\
routes:
- name: r
  match: {modality: CR}
  action:
    to:
    - MODLINK
    - MERCUR
- {name: s, match: {modality: CR}, action: {to: ELSEWHERE}}
"""


def test_unknown_destinations_are_found_with_the_file_or_later_alike() -> None:
    found = problems(TWO_MENTIONS, ["MERCURE", "MODLINK"])
    assert [str(problem) for problem in found] == [
        "routes.yml:7: route 'r': unknown destination 'MERCUR' (did you mean 'MERCURE'?)",
        "routes.yml:8: route 's': unknown destination 'ELSEWHERE' (allowed: MERCURE, MODLINK)",
    ]
    later = unknown_destinations(load_routes(TWO_MENTIONS), ["MERCURE", "MODLINK"])
    assert tuple(later) == found


def test_known_destinations_are_no_problem() -> None:
    routes = load_routes(TWO_MENTIONS, destinations={"MODLINK", "MERCUR", "ELSEWHERE"})
    assert unknown_destinations(routes, routes.destinations) == []


def test_with_no_destination_yet_the_problem_says_how_to_add_one() -> None:
    assert "orthanc add-destination" in str(problems(TWO_MENTIONS, [])[0])


def test_a_file_is_read_as_utf8_and_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "routes.yml"
    path.write_text("routes: [{name: épaule, match: {modality: CR}, action: {to: PACS}}]", encoding="utf-8")
    assert read_routes(path).routes[0].name == "épaule"
    assert read_routes(path).name == str(path)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, newline: bytes) -> None:
    path = tmp_path / "routes.yml"
    path.write_bytes(newline.join([b"\xef\xbb\xbfroutes:", b"- name: r", b"  match: 5", b"  action: {to: A}"]))
    with pytest.raises(RoutesInvalid) as caught:
        read_routes(path)
    assert [(problem.line, problem.route) for problem in caught.value.problems] == [(3, "r")]


def unreadable(folder: Path) -> Iterator[tuple[Path, str]]:
    yield folder / "missing.yml", "cannot be read: No such file"
    yield folder, "not a regular file"
    large = folder / "large.yml"
    # The limit falls into a character: that must not be mistaken for another encoding.
    large.write_bytes(b"#" + "é".encode() * (512 * 1024))
    yield large, "larger than 1048576 bytes"
    latin = folder / "latin.yml"
    latin.write_bytes("routes: []\n# Größe".encode("latin-1"))
    yield latin, "latin.yml:2: the file is not UTF-8 text (byte 0xf6)"
    yield folder / "a\0b", "no file can have this name"


def test_a_file_that_cannot_be_read_is_refused_like_an_invalid_one(tmp_path: Path) -> None:
    for path, message in unreadable(tmp_path):
        with pytest.raises(RoutesInvalid) as caught:
            read_routes(path)
        assert message in str(caught.value)


def test_a_route_knows_its_line() -> None:
    assert [route.line for route in load_routes(TWO_MENTIONS).routes] == [2, 8]


def test_no_route_has_the_name_of_what_is_sent_by_hand() -> None:
    problem = only_problem("routes: [{name: manual, match: {modality: CR}, action: {to: PACS}}]")

    assert "orthanc send" in problem
