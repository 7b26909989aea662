"""A check: one function that looks at one thing, and what is known of it without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from inspect import getdoc
from typing import Literal

from pacsops.doctor.finding import Finding
from pacsops.doctor.site import Site

Scope = Literal["host", "site"]
"""host: about the host it runs on. site: the same from every host of a site, so one of them is enough."""

TIME_LIMIT = 15.0
"""Seconds a check may take, unless it says otherwise."""

Look = Callable[[Site], Iterator[Finding]]


class Section(StrEnum):
    """Headings, in the order of a report."""

    SERVICES = "SERVICES"
    DATABASE = "DATABASE"
    STORAGE = "STORAGE"
    ORTHANC = "ORTHANC"
    DESTINATIONS = "DESTINATIONS"
    ROUTING = "ROUTING"
    BACKUP = "BACKUP"
    LOGS = "LOGS"


@dataclass(frozen=True, slots=True)
class Check:
    """Look at a site with `look`; `looks_at` says in a sentence at what."""

    id: str
    section: Section
    scope: Scope
    limit: float
    looks_at: str
    look: Look


def check(id_: str, *, section: Section, scope: Scope = "site", limit: float = TIME_LIMIT) -> Callable[[Look], Check]:
    """Make a check of a function; the first paragraph of its docstring becomes `looks_at`."""

    def make(look: Look) -> Check:
        described = (getdoc(look) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
        assert described, f"check {id_} does not say what it looks at"
        return Check(id_, section, scope, limit, described, look)

    return make
