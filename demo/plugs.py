"""What runs the demo's services, to pull a plug and put it back: supervisor, or Docker Compose."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Services as supervisor's programs."""

    demo: Path

    def command(self, *words: str) -> list[str]:
        program = Path(sys.executable).parent / "supervisorctl"
        return [str(program), "-c", str(self.demo / "config" / "supervisord.conf"), *words]

    def said(self, action: str, service: str) -> str:
        """The command as a person would type it."""
        return f"supervisorctl {action} {service}"

    @property
    def list_command(self) -> list[str]:
        return self.command("status")

    @staticmethod
    def running(listed: str) -> dict[str, bool]:
        """Service -> whether it runs, from what `list_command` printed."""
        lines = (line.split() for line in listed.splitlines())
        return {words[0]: words[1] == "RUNNING" for words in lines if len(words) >= 2 and words[1].isupper()}


@dataclass(frozen=True, slots=True)
class Compose:
    """Services as containers."""

    demo: Path

    def command(self, *words: str) -> list[str]:
        return ["docker", "compose", "--file", str(self.demo / "compose.yml"), *words]

    def said(self, action: str, service: str) -> str:
        """The command as a person would type it, in the demo's folder."""
        return f"docker compose {action} {service}"

    @property
    def list_command(self) -> list[str]:
        return self.command("ps", "--all", "--format", "json")

    @staticmethod
    def running(listed: str) -> dict[str, bool]:
        """Service -> whether it runs, from what `list_command` printed: one JSON object a line."""
        containers = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
        return {each["Service"]: each["State"] == "running" for each in containers}


def of(demo: Path) -> Supervisor | Compose:
    """What runs the demo in this folder."""
    return Compose(demo) if (demo / "compose.yml").exists() else Supervisor(demo)


def names(states: dict[str, bool]) -> Sequence[str]:
    return [f"{name} {'runs' if runs else 'does not run'}" for name, runs in states.items()]
