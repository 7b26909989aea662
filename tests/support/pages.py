"""Pages for operators: their sections, the commands they show, and what they say a command prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = DOCS / "operations"

_BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CHANGING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?"  # a moment
    r"|\d\d:\d\d(:\d\d)?"
    r"|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # of a job
    r"|\b[0-9a-f]{8}(-[0-9a-f]{8}){0,4}(-[0-9a-f]{4})?\b|\b[0-9a-f]{12}\b"  # an identifier of Orthanc, a hash
    r"|\b[\w.-]+:\d+:[0-9a-f]{6}\b"  # a process that works for the router
    r"|\b2\.25\.\d+"
    r"|\d[\d,.]*(?: ?(?:ms|kB|MB|GB|TB|[smhd])\b)?"  # a number, with its unit
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command as the page shows it, and the lines it is said to print; `…` stands for any text."""

    command: str
    shown: tuple[str, ...]

    def unlike(self, output: str) -> str | None:
        """The first line that is not in the output after those before it; None when all are.

        Times, numbers and identifiers only have to be of the same kind, and lines may be broken elsewhere.
        """
        there, position = normal(output), 0
        for line in self.shown:
            parts = [re.escape(part.strip()) for part in normal(line).split("…")]
            found = re.compile(r".*?".join(parts)).search(there, position)
            if found is None:
                return line
            position = found.end()
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of docs/operations."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def title(self) -> str:
        return self.text.splitlines()[0].removeprefix("# ")

    @property
    def sections(self) -> dict[str, str]:
        """Heading -> what is below it."""
        _, *rest = re.split(r"^## (.+)\n", self.text, flags=re.MULTILINE)
        return dict(zip(rest[::2], rest[1::2], strict=True))

    def steps(self, section: str | None = None) -> list[Step]:
        """The commands of a section, or of the whole page, in their order."""
        text = self.text if section is None else self.sections[section]
        return [step for _, block in _BLOCK.findall(text) for step in _steps(block)]


def pages() -> list[Page]:
    return [Page(path) for path in sorted(OPERATIONS.glob("*.md"))]


def page(name: str) -> Page:
    return Page(OPERATIONS / f"{name}.md")


def normal(text: str) -> str:
    """What is the same whenever it is printed: no colours, numbers as `#`, space and line breaks as one space."""
    plain = _COLOURS.sub("", text).replace("\r", "")
    return re.sub(r"\s+", " ", _CHANGING.sub("#", plain)).strip()


def without_colours(printed: str) -> str:
    """What a terminal shows, as text."""
    return "\n".join(line.rstrip() for line in _COLOURS.sub("", printed).splitlines()).strip("\n")


def _steps(block: str) -> list[Step]:
    commands: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.lstrip().startswith("$ "):
            commands.append((line.lstrip().removeprefix("$ ").strip(), []))
        elif line.strip() and line.strip() != "…":
            commands[-1][1].append(line.strip())
    return [Step(command, tuple(shown)) for command, shown in commands]
