"""The demo's story, told against the running `.demo`: `python demo/story.py`.

A scanner sends a bone-length study, the AI answers it, one receiving system is unplugged meanwhile, and nothing
is lost. Exit code 1 with the evidence when anything is not as promised.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plugs
import requests
from mercure import MANUFACTURER, PICTURE, REPORT
from network import Network, stored_files
from pydicom import dcmread
from stage import Stage, StoryEnds, perform

DESTINATIONS = ("MERCURE", "LPCHROUTER", "LPCHTROUTER", "MODLINK")
UNPLUGGED = "MODLINK"

PENDING, FAILED, SUCCESS = "pending", "failed", "success"


@dataclass(slots=True)
class Told:
    """What the story has learned so far. SOP instance UIDs are what is checked at its end."""

    study_uid: str
    accession: str
    sizes: Mapping[str, tuple[int, int]]
    """Rows and columns by SOP instance UID."""
    expected: dict[str, str] = field(default_factory=dict)
    """Destination: the one SOP instance UID it must have."""

    @property
    def largest(self) -> str:
        return max(self.sizes, key=lambda uid: self.sizes[uid][0] * self.sizes[uid][1])


class Story:
    """One telling. Run it again: each time it is a new study."""

    def __init__(self, stage: Stage, network: Network) -> None:
        self._stage = stage
        self._network = network

    def tell(self) -> None:
        """From the first step to the last.

        Raises:
            StoryEnds: at the first thing that is not as promised.
        """
        self._meet()
        try:
            self._unplug()
            told = self._send()
            self._route(told)
            self._answer(told)
            self._wait(told)
        finally:
            command = self._stage.plug("start", UNPLUGGED)
        self._recover(told, command)
        self._check(told)
        self._look(told)
        self._invite(told)

    # ── the steps ────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self) -> None:
        stage, orthanc = self._stage, self._network.orthanc
        stage.step("The neighbours")
        if not self._stage.services().get(UNPLUGGED.lower(), True):
            stage.plug("start", UNPLUGGED)
            stage.tell(f"[yellow]{UNPLUGGED} was still unplugged from an earlier story: plugged in again[/]")
        stage.wait_for("every service", lambda: self._all_run() or None, within=20, evidence=self._service_lines)
        scanner = self._network.neighbours["SCANNER"]
        stage.tell(f"{scanner.aet} is the scanner; {orthanc.aet} listens on {orthanc.host}:{orthanc.port}")
        for name in DESTINATIONS:
            if not stage.answers(name):
                raise StoryEnds(f"{name} does not answer", [f"see: orthanc test-destination {name}"])
            port = self._network.neighbours[name].port
            stage.tell(f"[green]✓[/] {name:<12} answers C-ECHO on port {port}")

    def _unplug(self) -> None:
        self._stage.step(f"{UNPLUGGED} is unplugged")
        command = self._stage.plug("stop", UNPLUGGED)
        if self._stage.answers(UNPLUGGED):
            raise StoryEnds(f"{UNPLUGGED} still answers although it was stopped")
        self._stage.tell(f"{command}: it takes no connections now")

    def _send(self) -> Told:
        self._stage.step("The scanner sends a bone-length study")
        sent = self._push_button()
        sizes = {image["sop_uid"]: (image["rows"], image["columns"]) for image in sent["instances"]}
        told = Told(sent["study_uid"], sent["accession_number"], sizes)
        self._stage.tell(f"accession number {told.accession}, {len(sizes)} images:")
        for uid, (rows, columns) in sizes.items():
            mark = "  [green]← the highest resolution[/]" if uid == told.largest else ""
            self._stage.tell(f"  {rows:>4} × {columns:<4} {uid}{mark}")
        return told

    def _route(self, told: Told) -> None:
        self._stage.step("The route picks one image for the AI")
        self._arrival("MERCURE", told, told.largest, within=20)
        route = next(
            (d["route"] for d in self._stage.deliveries(told.study_uid) if d["destination"] == "MERCURE"), "?"
        )
        self._stage.tell(f"[green]✓[/] route {route}: MERCURE has the largest image, and only that one")

    def _answer(self, told: Told) -> None:
        self._stage.step("MERCURE answers")
        note = self._network.neighbours["MERCURE"].data / told.study_uid / f"{told.largest}.answered"
        self._stage.wait_for(
            "MERCURE's three results", lambda: note.exists() or None, within=20, evidence=self._service_lines
        )
        results = {entry["description"]: entry["sop_uid"] for entry in json.loads(note.read_text())}
        self._stage.tell(f"three results of the same study: {', '.join(results)}")
        for name in ("LPCHROUTER", "LPCHTROUTER"):
            self._arrival(name, told, results[PICTURE], within=20)
            self._stage.tell(f"[green]✓[/] {name} has the picture ({PICTURE}), not the table")
        told.expected[UNPLUGGED] = results[REPORT]

    def _wait(self, told: Told) -> None:
        self._stage.step(f"The structured report waits for {UNPLUGGED}")
        self._stage.wait_for(
            f"a first attempt at {UNPLUGGED} to fail",
            lambda: self._held_back(told) or None,
            within=20,
            evidence=lambda: self._stage.delivery_lines(told.study_uid),
        )
        self._stage.show("show-pending")

    def _recover(self, told: Told, command: str) -> None:
        stage = self._stage
        stage.step(f"{UNPLUGGED} is back")
        stage.tell(f"{command}. Nobody has to do anything else; the impatient would type")
        stage.tell(f"[bold]orthanc retry {told.accession} --destination {UNPLUGGED}[/]")
        back = stage.elapsed
        self._arrival(UNPLUGGED, told, told.expected[UNPLUGGED], within=45)
        stage.tell(f"[green]✓[/] the report arrived by itself, {stage.elapsed - back:.0f} s later")

    def _check(self, told: Told) -> None:
        self._stage.step("Who has what")
        self._stage.wait_for(
            "every delivery to be recorded as success",
            lambda: all(d["status"] == SUCCESS for d in self._stage.deliveries(told.study_uid)) or None,
            within=10,
            evidence=lambda: self._stage.delivery_lines(told.study_uid),
        )
        wrong = []
        for name, uid in told.expected.items():
            there = self._received(name, told)
            if there != [uid]:
                wrong += [f"{name}: expected {uid}", f"{' ' * len(name)}  found    {', '.join(there) or 'nothing'}"]
            for path in self._files(name, told):
                self._stage.tell(f"{name:<12} {_described(path):<26} {path.stem}")
        addressed = sorted(d["destination"] for d in self._stage.deliveries(told.study_uid))
        if addressed != sorted(told.expected):
            wrong.append(f"deliveries go to {addressed}, not to {sorted(told.expected)}")
        if wrong:
            raise StoryEnds("not everything arrived where it should, and only there", wrong)
        self._stage.tell("[green]✓[/] exactly these: nothing missing, nothing extra")

    def _look(self, told: Told) -> None:
        self._stage.step("What the operator sees")
        # Exit codes 1 and 2 speak of the whole site: something an earlier visitor broke is not this story's end.
        self._stage.ask("status")
        self._stage.show("status")
        if self._stage.show("history", told.accession) != 0:
            raise StoryEnds("`orthanc history` failed: see above")

    def _invite(self, told: Told) -> None:
        scanner = self._network.neighbours["SCANNER"]
        suggestions = (
            (f"orthanc routes explain {told.accession}", "why each route took it, or not"),
            (f"orthanc retry {told.accession} --destination {UNPLUGGED} --force --yes", "send the report again"),
            (f"curl -X POST 'http://127.0.0.1:{scanner.control_port}/send?accession=MINE-1'", "scan once more"),
            ("orthanc history MINE-1", "and follow it"),
        )
        self._stage.invite(suggestions, "docs/demo.md")

    # ── what the steps look at ───────────────────────────────────────────────────────────────────────────────

    def _push_button(self) -> Any:
        port = self._network.neighbours["SCANNER"].control_port
        try:
            answer = requests.post(f"http://127.0.0.1:{port}/send", timeout=30)
        except requests.RequestException as error:
            raise StoryEnds(f"the scanner's button on port {port} does not answer", [str(error)]) from error
        if not answer.ok:
            raise StoryEnds("the scanner could not send", [answer.text.strip()])
        return answer.json()

    def _arrival(self, name: str, told: Told, uid: str, *, within: float) -> None:
        """Wait until `name` holds something of the study, and insist that it is `uid` alone."""
        told.expected[name] = uid
        there = self._stage.wait_for(
            f"{name} to have its image",
            lambda: self._received(name, told) or None,
            within=within,
            evidence=lambda: self._stage.delivery_lines(told.study_uid),
        )
        if there != [uid]:
            raise StoryEnds(f"{name} has what it should not", [f"expected {uid}", *(f"found    {u}" for u in there)])

    def _received(self, name: str, told: Told) -> list[str]:
        return [path.stem for path in self._files(name, told)]

    def _files(self, name: str, told: Told) -> Sequence[Path]:
        return stored_files(self._network.neighbours[name], told.study_uid)

    def _held_back(self, told: Told) -> bool:
        """Whether the report waits because of MODLINK: after a failed attempt, or because it is known to be down."""
        if self._received(UNPLUGGED, told):
            raise StoryEnds(f"{UNPLUGGED} got the report: somebody plugged it in", self._service_lines())
        pending = self._stage.ask("show-pending", "--destination", UNPLUGGED)["deliveries"]
        mine = [d for d in pending if d["study_uid"] == told.study_uid and d["status"] in {PENDING, FAILED}]
        return any(d["last_error"] for d in mine) or bool(mine and self._known_to_be_down())

    def _known_to_be_down(self) -> bool:
        destinations = self._stage.ask("destinations")["destinations"]
        return any(d["name"] == UNPLUGGED and d.get("breaker") == "open" for d in destinations)

    def _all_run(self) -> bool:
        return all(self._stage.services().values()) and self._router_lives()

    def _router_lives(self) -> bool:
        router = self._stage.ask("status")["services"].get("router", {})
        return bool(router.get("state") == "running")

    def _service_lines(self) -> Sequence[str]:
        states = plugs.names(self._stage.services())
        return states if self._router_lives() else [*states, "the router gives no sign of life"]


def _described(path: Path) -> str:
    """What a receiver's file holds, in its own words: `CR 960 × 400`, `SR Leg Length Report`."""
    header = dcmread(path, stop_before_pixels=True)
    if header.Manufacturer == MANUFACTURER:
        return f"{header.Modality} {header.SeriesDescription}"
    return f"{header.Modality} {header.Rows} × {header.Columns}"


def tell(stage: Stage, demo: Path) -> None:
    Story(stage, Network.read(demo / "config" / "neighbours.json")).tell()


if __name__ == "__main__":
    sys.exit(
        perform(
            tell,
            title="A bone-length study, its AI results, and a destination that is down",
            when_stopped=f"{UNPLUGGED} is plugged in",
        )
    )
