"""The edge demo's story, told against the running `.demo`: `python demo/edge_story.py`.

A scanner sends to the gateway; the PACS has the images at once, an AI worker gets them too, and its result comes
back; a browser shows both; a stranger is turned away; a worker is switched off, and nobody waits for it. Exit code 1
with the evidence when anything is not as promised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import plugs
from pacs import Pacs
from stage import Stage, StoryEnds, perform
from viewer import USER, Viewer

STRANGER = "NOPE_AET"
WORKERS = ("APP01", "APP02", "APP03", "APP04", "APP05")
UNPLUGGED = "APP01"


@dataclass(frozen=True, slots=True)
class Scanned:
    """A study the gateway has taken."""

    study_uid: str
    images: frozenset[str]
    """SOP instance UIDs."""


class Story:
    """One telling. Run it again: each time these are new studies."""

    def __init__(self, stage: Stage, pacs: Pacs, viewer: Viewer) -> None:
        self._stage = stage
        self._pacs = pacs
        self._viewer = viewer

    def tell(self) -> None:
        """From the first step to the last.

        Raises:
            StoryEnds: at the first thing that is not as promised.
        """
        self._meet()
        first = self._send()
        self._arrive(first)
        self._analyse(first)
        self._view(first)
        self._turn_away()
        try:
            others = self._unplug()
        finally:
            command = self._stage.plug("start", UNPLUGGED)
        self._recover(others, command)
        self._look(first)
        self._invite(first)

    # ── the steps ────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self) -> None:
        stage = self._stage
        stage.step("Who is here")
        if not stage.services().get(UNPLUGGED.lower(), True):
            stage.plug("start", UNPLUGGED)
            stage.tell(f"[yellow]{UNPLUGGED} was still switched off from an earlier story: it runs again[/]")
        stage.wait_for(
            "every service", lambda: all(stage.services().values()) or None, within=20, evidence=self._service_lines
        )
        stage.tell(
            "[green]✓[/] a gateway, a PACS behind it (Orthanc) with a viewer (OHIF), and five AI workers beside it"
        )

    def _send(self) -> Scanned:
        self._stage.step("A scanner sends a study to the gateway")
        [scanned] = self._scan(1)
        self._stage.tell(
            f"{len(scanned.images)} images, each answered with Success once it was on the gateway's disk"
        )
        self._stage.tell(f"study {scanned.study_uid}")
        return scanned

    def _arrive(self, scanned: Scanned) -> None:
        self._stage.step("The PACS has them")
        self._originals(scanned, within=20)
        self._stage.tell("[green]✓[/] all of them; no AI was waited for")

    def _analyse(self, scanned: Scanned) -> None:
        self._stage.step("One of five AI workers has them too, and its result comes back")
        self._result(scanned, within=60)
        self._stage.tell(
            f"[green]✓[/] {self._worker_of(scanned)} has answered, and the PACS has the result beside them"
        )

    def _view(self, scanned: Scanned) -> None:
        self._stage.step("A radiologist opens the study in a browser")
        stored = len(self._pacs.has(scanned.study_uid).descriptions)
        self._stage.wait_for(
            "the viewer to have every image",
            lambda: self._viewer.images(scanned.study_uid) == stored or None,
            within=20,
            evidence=self._service_lines,
        )
        self._stage.tell(f"[green]✓[/] {self._viewer.page(scanned.study_uid)}")
        self._stage.tell(f"  [dim]user {USER}, password: cut -d' ' -f1 {self._viewer.password_file}[/]")

    def _turn_away(self) -> None:
        self._stage.step("A stranger is turned away")
        words = ("simulate", "scanner", "--generate", "1", "--calling-aet", STRANGER)
        if self._stage.show(*words) != 2:
            raise StoryEnds(f"the gateway did not reject {STRANGER}")
        if self._stage.show("logs", "--service", "gateway", "--no-follow", "--grep", STRANGER, "--lines", "1") != 0:
            raise StoryEnds("`orthanc logs` failed: see above")

    def _unplug(self) -> list[Scanned]:
        self._stage.step(f"{UNPLUGGED} is switched off, and five studies come in")
        self._stage.tell(f"{self._stage.plug('stop', UNPLUGGED)}: one of five would be its")
        scanned = self._scan(5)
        for study in scanned:
            self._originals(study, within=20)
        self._stage.tell("[green]✓[/] the PACS has all five at once")
        for study in scanned:
            self._result(study, within=90)
        self._stage.tell("[green]✓[/] and the results of all five: the others did its work")
        return scanned

    def _recover(self, scanned: Sequence[Scanned], command: str) -> None:
        self._stage.step(f"{UNPLUGGED} is back")
        self._stage.tell(f"{command}. Nothing waits for it:")
        for study in scanned:
            if self._pacs.has(study.study_uid).originals != study.images:
                raise StoryEnds("the PACS has what it should not", self._stage.delivery_lines(study.study_uid))
        self._stage.tell(
            "[green]✓[/] the PACS has exactly what was sent, and the results: nothing missing, nothing extra"
        )

    def _look(self, scanned: Scanned) -> None:
        self._stage.step("What the operator sees")
        # Exit codes 1 and 2 speak of the whole site: something an earlier visitor broke is not this story's end.
        self._stage.ask("status", "--study", scanned.study_uid)
        self._stage.show("status", "--study", scanned.study_uid)
        if self._stage.show("history", scanned.study_uid) != 0:
            raise StoryEnds("`orthanc history` failed: see above")

    def _invite(self, scanned: Scanned) -> None:
        suggestions = (
            ("orthanc simulate scanner --generate 3 --burst 5", "scan more"),
            ("orthanc simulate scanner your-folder/ --rewrite-uids", "or your own images"),
            ("orthanc inject-fault disk_full", "what a scanner meets then; orthanc clear-faults ends it"),
            (f"orthanc routes explain {scanned.study_uid}", "why each route took it, or not"),
        )
        self._stage.invite(suggestions, "docs/demo.md and docs/gateway.md")

    # ── what the steps look at ───────────────────────────────────────────────────────────────────────────────

    def _scan(self, studies: int) -> list[Scanned]:
        sent = self._stage.ask("simulate", "scanner", "--generate", str(studies))
        images = sent.get("images", [])
        refused = [f"{each['sop_instance_uid']}: {each['reason']}" for each in images if each["outcome"] != "sent"]
        if not images or refused:
            raise StoryEnds("the gateway did not take everything", refused or [str(sent)])
        return [
            Scanned(uid, frozenset(each["sop_instance_uid"] for each in images if each["study_uid"] == uid))
            for uid in sent["studies"]
        ]

    def _originals(self, scanned: Scanned, *, within: float) -> None:
        self._pacs_to_have(
            "every image", scanned, lambda: scanned.images <= self._pacs.has(scanned.study_uid).originals, within
        )

    def _result(self, scanned: Scanned, *, within: float) -> None:
        self._pacs_to_have("an AI's result", scanned, lambda: bool(self._pacs.has(scanned.study_uid).results), within)

    def _pacs_to_have(self, what: str, scanned: Scanned, there: Callable[[], bool], within: float) -> None:
        self._stage.wait_for(
            f"the PACS to have {what}",
            lambda: there() or None,
            within=within,
            evidence=lambda: [*self._service_lines(), *self._stage.delivery_lines(scanned.study_uid)],
        )

    def _worker_of(self, scanned: Scanned) -> str:
        named = [
            each["destination"]
            for each in self._stage.deliveries(scanned.study_uid)
            if each["destination"] in WORKERS
        ]
        if len(set(named)) != 1:
            raise StoryEnds(
                f"the study went to {named or 'no worker'}, not to one", self._stage.delivery_lines(scanned.study_uid)
            )
        return str(named[0])

    def _service_lines(self) -> Sequence[str]:
        return plugs.names(self._stage.services())


def tell(stage: Stage, demo: Path) -> None:
    Story(stage, Pacs(demo), Viewer(demo)).tell()


if __name__ == "__main__":
    sys.exit(
        perform(
            tell,
            title="A gateway before the PACS, five AI workers, and one that is switched off",
            when_stopped=f"{UNPLUGGED} runs",
        )
    )
