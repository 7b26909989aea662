"""What is wrong with a routes.yml: every problem at once, each where an editor can jump to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pacsops.errors import PacsopsError

MAX_PROBLEMS = 100
"""A file of nonsense has one problem a line; nobody reads more than these."""

_LONGEST_MISSPELLING = 64
"""Characters. What is longer is no slip of a finger, and similarity costs quadratic time."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to correct. `str()` is one line as a compiler prints it."""

    file: str
    line: int
    column: int
    route: str | None
    message: str
    allowed: str | None = None
    """What may stand there instead."""
    suggestion: str | None = None
    """What was probably meant."""

    def __str__(self) -> str:
        route = f"route {self.route!r}: " if self.route is not None else ""
        if self.suggestion is not None:
            remedy = f" (did you mean {self.suggestion!r}?)"
        elif self.allowed is not None:
            remedy = f" (allowed: {self.allowed})"
        else:
            remedy = ""
        return f"{self.file}:{self.line}: {route}{self.message}{remedy}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class RoutesInvalid(PacsopsError):
    """A routes.yml that must not come into force. `problems` says why, in the order of the file."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{file} is not valid, {count}:{lines}", hint="correct it, then `orthanc routes --validate`")


class Problems:
    """Collects problems while a file is read; counts on when nobody would read more."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Problem] = []
        self._unlisted = 0
        self._first_unlisted = Position(1, 1)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(
        self,
        at: Position,
        message: str,
        *,
        route: str | None = None,
        allowed: str | None = None,
        misspelt: str | None = None,
        candidates: Iterable[str] = (),
    ) -> None:
        """Note one problem. `misspelt` is compared with `candidates` for a "did you mean"."""
        if len(self._found) == MAX_PROBLEMS:
            self._first_unlisted = min(self._first_unlisted, at) if self._unlisted else at
            self._unlisted += 1
            return
        self._found.append(
            Problem(
                file=self.file,
                line=at.line,
                column=at.column,
                route=route,
                message=message,
                allowed=allowed,
                suggestion=closest(misspelt, candidates) if misspelt is not None else None,
            )
        )

    def listed(self) -> tuple[Problem, ...]:
        """In the order of the file; what was only counted is one last line."""
        listed = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        if self._unlisted:
            listed.append(
                Problem(
                    file=self.file,
                    line=self._first_unlisted.line,
                    column=self._first_unlisted.column,
                    route=None,
                    message=f"and {self._unlisted} more from here on",
                )
            )
        return tuple(listed)

    def refuse(self) -> RoutesInvalid:
        return RoutesInvalid(self.file, self.listed())


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was probably meant to be, upper and lower case aside."""
    if len(word) > _LONGEST_MISSPELLING:
        return None
    folded = {candidate.casefold(): candidate for candidate in candidates}
    near = [name for name in folded if abs(len(name) - len(word)) <= max(2, len(word) // 3)]
    found = difflib.get_close_matches(word.casefold(), near, n=1, cutoff=0.7)
    return folded[found[0]] if found else None


def shown(text: str, longest: int = 60) -> str:
    """`text` quoted for a message, shortened: a value in a hostile file may fill a megabyte."""
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")
