"""A destination's answer to C-ECHO, as a page and as JSON."""

from __future__ import annotations

from typing import Any

from pacsops.cli.render import Page
from pacsops.doctor.destination_state import SLOW_MS
from pacsops.doctor.echo_meaning import meaning
from pacsops.orthanc import Echo, Modality


def verdict(echo: Echo) -> int:
    """The exit code: 0 answered, 1 answered slowly, 2 not."""
    if not echo.ok:
        return 2
    return 1 if echo.milliseconds > SLOW_MS else 0


def as_document(echo: Echo, modality: Modality, local_aet: str) -> dict[str, Any]:
    """What --json prints."""
    said = meaning(echo, modality, local_aet)
    return {
        "name": modality.name,
        "aet": modality.aet,
        "host": modality.host,
        "port": modality.port,
        "ok": echo.ok,
        "slow": echo.ok and echo.milliseconds > SLOW_MS,
        "milliseconds": echo.milliseconds,
        "error": echo.failure.message if echo.failure else None,
        "error_class": echo.failure.kind if echo.failure else None,
        "meaning": said[0] if said else None,
        "advice": said[1] if said else None,
        "exit_code": verdict(echo),
    }


def print_echo(page: Page, echo: Echo, modality: Modality, local_aet: str) -> None:
    """The outcome in two or three lines."""
    said = meaning(echo, modality, local_aet)
    if said is None or echo.failure is None:
        page.line(f"C-ECHO successful! Response time: {echo.milliseconds}ms", "✅", indent=0)
        if echo.milliseconds > SLOW_MS:
            page.line("That is slow (more than 1 s): check the network path and the system's load.", "⚠", indent=0)
        return
    page.line(f"C-ECHO failed after {echo.milliseconds}ms: {echo.failure.message}", "❌", indent=0)
    page.line(f"It means: {said[0]}.", indent=3)
    page.line(f"What to do: {said[1]}.", indent=3)
