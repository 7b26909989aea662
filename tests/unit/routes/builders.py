"""Studies and route tables in as few words as a test needs."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pacsops.routes import InstanceFacts, Problem, RoutesInvalid, RouteTable, StudyFacts, load_routes


def image(instance: str, series: str = "series1", sender: str | None = "CR_ROOM1", **tags: str) -> InstanceFacts:
    return InstanceFacts(instance_id=instance, series_id=series, sender_aet=sender, tags=tags)


def study(*images: InstanceFacts) -> StudyFacts:
    return StudyFacts(study_id="study", instances=images)


def table(text: str) -> RouteTable:
    return load_routes(dedent(text))


def one_route(match: str = "{modality: CR}", to: str = "PACS", **more: str) -> RouteTable:
    """A table of one route named `r`; `more` are further keys as YAML, `send` goes into the action."""
    action = f"{{send: {more.pop('send', 'study')}, to: {to}}}"
    lines = [f"  {key}: {value}" for key, value in more.items()]
    return load_routes("\n".join(["routes:", "- name: r", f"  match: {match}", f"  action: {action}", *lines]))


def problems(text: str, destinations: list[str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(RoutesInvalid) as caught:
        load_routes(dedent(text), destinations=destinations)
    return caught.value.problems


def only_problem(text: str, destinations: list[str] | None = None) -> str:
    found = problems(text, destinations)
    assert len(found) == 1, [str(problem) for problem in found]
    return str(found[0])


def problem_with_match(match: str) -> str:
    return only_problem(f"routes: [{{name: r, match: {match}, action: {{to: PACS}}}}]")
