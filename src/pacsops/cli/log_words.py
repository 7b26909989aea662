"""A log's entries as a person reads them on a terminal: local time, a sign, a word, a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

from pacsops.cli.render import Page, mark
from pacsops.services.entries import Entry

_SIGNS: Mapping[str | None, str] = {"ERROR": "❌", "WARN": "⚠"}
_STYLES: Mapping[str | None, str] = {"ERROR": "red", "WARN": "yellow", "DEBUG": "dim"}
_WORD_WIDTH = 11

Naming = Callable[[str], str | None]
"""Orthanc's identifier of a study → who and what it is, None where that is not known."""


class LogPage:
    """Prints entries one below the other, with a heading whenever the day changes.

    Args:
        page: where to.
        naming: what to call a study that was received; names are for people, logs have none.
    """

    def __init__(self, page: Page, naming: Naming) -> None:
        self._page = page
        self._naming = naming
        self._day: date = datetime.now().astimezone().date()

    def show(self, entry: Entry) -> None:
        at = entry.at.astimezone() if entry.at else None
        if at is not None and at.date() != self._day:
            self._day = at.date()
            self._page.line(f"── {self._day.isoformat()} ──", indent=0, style="bold")
        time = f"{at:%H:%M:%S}" if at else " " * 8
        style = _STYLES.get(entry.level, "")
        if entry.continued and not entry.line.strip():
            return
        if entry.continued:
            self._page.line(f"{' ' * 8}  {' ' * 3}{entry.line}", indent=0, style=style)
            return
        sign, word, text = self._said(entry)
        self._page.line(f"{time}  {mark(sign)}{word:<{_WORD_WIDTH}} {text}", indent=0, style=style)

    def _said(self, entry: Entry) -> tuple[str, str, str]:
        """Sign, word and sentence."""
        if entry.event in _WORDS:
            sign, word, text = _WORDS[entry.event](entry.fields)
            study = entry.fields.get("study_id")
            if study is None:
                return sign, word, text
            if entry.event == "study_received":
                text = self._naming(study) or text
            return sign, word, f"{text}  [{self._page.study(study)}]"
        sign = _SIGNS.get(entry.level, "")
        if entry.event is not None:
            return sign, entry.component or "", entry.message
        where = f"{entry.component}: " if entry.component else ""
        return sign, entry.service, f"{where}{entry.message}"


_Fields = Mapping[str, str]
_Words = Callable[[_Fields], tuple[str, str, str]]


def _matched(said: _Fields) -> tuple[str, str, str]:
    images = f" ({_images(said)})" if "instances" in said else ""
    return "🔍", "MATCHED", f'Route: "{said.get("route", "")}"{images}'


def _sending(said: _Fields) -> tuple[str, str, str]:
    attempt = int(said["attempt"]) if said.get("attempt", "").isdigit() else 1
    word = f"RETRY {attempt - 1}" if attempt > 1 else "SENDING"
    job = f", job {said['job_id']}" if said.get("job_id") else ""  # what is sent by ourselves has none
    return "📤", word, f"→ {said.get('destination')} ({_images(said)}{job})"


def _success(said: _Fields) -> tuple[str, str, str]:
    took = said.get("duration_ms", "")
    seconds = f" ({int(took) / 1000:.1f}s)" if took.isdigit() else ""
    return "✅", "SUCCESS", f"{said.get('destination')}: Delivered{seconds}"


def _failed(said: _Fields) -> tuple[str, str, str]:
    of = f" of {said['max_attempts']}" if "max_attempts" in said else ""
    return "❌", "FAILED", f"{said.get('destination')}: {said.get('error')} (attempt {said.get('attempt')}{of})"


def _reloaded(said: _Fields) -> tuple[str, str, str]:
    return "🔄", "ROUTES", f"routes.yml taken: {said.get('routes')} routes ({said.get('route_version', '')[:12]})"


class _Given(dict[str, str]):
    """Fields of a line; what it lacks is told as None."""

    def __missing__(self, field: str) -> str:
        return "None"


def _saying(sign: str, word: str, sentence: str) -> _Words:
    """The same sentence with the line's fields in it."""
    return lambda said: (sign, word, sentence.format_map(_Given(said)))


def _images(said: _Fields) -> str:
    number = said.get("instances", "?")
    return f"{number} image" if number == "1" else f"{number} images"


_WORDS: Mapping[str | None, _Words] = {
    "study_received": _saying("📥", "RECEIVED", "a study"),
    "route_matched": _matched,
    "send_started": _sending,
    "send_success": _success,
    "send_failed": _failed,
    "send_retry_scheduled": _saying("⏳", "WAITING", "{destination}: retry in {wait_seconds}s"),
    "send_interrupted": _saying("⚠", "INTERRUPTED", "{destination}: {error}"),
    "study_stuck": _saying("❌", "STUCK", "{destination}: {error}"),
    "study_unreadable": _saying("⚠", "UNREADABLE", "no route can be asked: {error}"),
    "destination_unreachable": _saying("❌", "DOWN", "{destination}: {error}"),
    "destination_slow": _saying("⚠", "SLOW", "{destination}: C-ECHO took {echo_ms} ms"),
    "destination_recovered": _saying("✅", "BACK", "{destination} answers again ({echo_ms} ms)"),
    "config_reloaded": _reloaded,
    "config_rejected": _saying("❌", "ROUTES", "routes.yml refused: {error}"),
    "configuration_rejected": _saying("❌", "GATEWAY", "gateway.yml refused: {error}"),
    "configuration_kept": _saying("⚠", "GATEWAY", "goes on with the gateway.yml of {since}"),
}
