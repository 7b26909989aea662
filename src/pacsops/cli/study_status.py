"""`orthanc status --study`: each image of a study, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pacsops.cli.render import Page, count, moment, size, to_type, write_json
from pacsops.cli.site import Site
from pacsops.delivery import desk
from pacsops.delivery.model import StudyRecord
from pacsops.gateway.standing import ImageStanding, Standing, standing

_SIGNS = {"failed": "❌", "sending": "📤", "queued": "⏳", "sent": "✅", "unrouted": "–"}


def study_status(site: Site, name: str, *, as_json: bool) -> int:
    """Show how a study's images stand; the exit code: 2 where one failed or cannot be routed, 1 where one waits.

    Raises:
        UnknownStudy, AmbiguousStudy, DatabaseUnreachable
    """
    studies = desk.find_studies(site.db, name)
    found = standing(site.db, studies)
    code = _exit_code(found)
    if as_json:
        write_json(_as_document(studies, found, code))
    else:
        _print(Page(), studies, found, said=name)
    return code


def _exit_code(found: Standing) -> int:
    counts = found.counts()
    if counts.get("failed") or found.unreadable or any(image.error for image in found.images):
        return 2
    return 1 if counts.get("queued") or counts.get("sending") else 0


def _as_document(studies: Sequence[StudyRecord], found: Standing, code: int) -> dict[str, Any]:
    return {
        "studies": [asdict(study) for study in studies],
        "counts": found.counts(),
        "instances": [image.as_dict() for image in found.images],
        "unreadable": [asdict(file) for file in found.unreadable],
        "exit_code": code,
    }


def _print(page: Page, studies: Sequence[StudyRecord], found: Standing, *, said: str) -> None:
    study = studies[0]
    page.title("📋", f"STUDY {page.study(study.study_id)}")
    states = ", ".join(f"{number} {state}" for state, number in found.counts().items())
    page.facts(
        [
            ("Patient", study.patient_name or "–"),
            ("Study", study.study_description or "–"),
            ("Images", f"{count(len(found.images), 'instance')}{f': {states}' if states else ''}"),
        ]
    )
    page.section("INSTANCES")
    page.records(
        ("", "INSTANCE", "FROM", "RECEIVED", "SIZE", "DELIVERIES"),
        [
            (
                _SIGNS[image.state],
                image.sop_instance_uid or image.instance_id,
                image.sender_aet or "–",
                moment(image.received_at) if image.received_at else "–",
                size(image.size) if image.size is not None else "–",
                _deliveries(image),
            )
            for image in found.images
        ],
        whole=("FROM", "RECEIVED", "SIZE"),
        indent=2,
    )
    if not found.images:
        page.line("none is known")
    if found.unreadable:
        page.section("FILES THAT CANNOT BE ROUTED")
        for file in found.unreadable:
            page.line(f"{file.file}: {file.reason}", "⚠")
    page.blank()
    page.rule()
    typed = to_type(study.study_id, said)
    page.actions(
        [
            (f"orthanc history {typed}", "Everything that happened to it"),
            (f"orthanc routes explain {typed}", "Why each route takes it or not"),
        ]
    )


def _deliveries(image: ImageStanding) -> str:
    said = [
        f"{promise.destination} {promise.state}{f': {promise.error}' if promise.error else ''}"
        for promise in image.deliveries
    ]
    notes = [image.error] if image.error and image.in_spool is False else []
    if image.duplicate:
        notes.append("another content of an UID that was there before")
    return "; ".join([*(said or ["no route takes it"]), *notes])
