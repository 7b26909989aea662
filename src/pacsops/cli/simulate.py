"""`orthanc simulate scanner`: a scanner that sends, for drills and for trying a site out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from pacsops.cli.parameters import json_option
from pacsops.cli.progress import bar
from pacsops.cli.render import Page, count, size, warn, write_json
from pacsops.cli.site import Site, pass_site
from pacsops.dimse import AssociationRejected, DimseError, Peer, UnreadableFile
from pacsops.errors import NothingSent
from pacsops.gateway import drills, images
from pacsops.gateway.images import Changes, Draft, Original
from pacsops.gateway.scanner import Report, Scanner, Sent

_LISTED = 10
_SIGNS = {"sent": "✅", "refused": "❌", "not sent": "❌"}


class _Uid(click.ParamType[str]):
    name = "uid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) > 64 or not re.fullmatch(r"[0-9]+(\.[0-9]+)*", value):
            self.fail(f"{value!r} is no UID: digits with dots between them, 64 characters at most", param, ctx)
        return str(value)


class _AeTitle(click.ParamType[str]):
    name = "aet"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"(?! )[ -\[\]-~]{1,16}(?<! )", value):
            self.fail(f"{value!r} is no AE title: 1 to 16 characters of ASCII without a backslash", param, ctx)
        return str(value)


@click.group("simulate")
def simulate() -> None:
    """Play a system that is not there.

    \b
    Examples:
      orthanc simulate scanner --generate 3
      orthanc simulate scanner --help
    """


@simulate.command("scanner")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--generate", type=click.IntRange(1, 100_000), metavar="N", help="Make up N studies of 3 CT images.")
@click.option("--burst", type=click.IntRange(1, 100_000), default=1, metavar="N", help="Send everything N times.")
@click.option("--delay-ms", type=click.FloatRange(0, 3_600_000), default=0.0, metavar="MS", help="Between images.")
@click.option("--rewrite-uids", is_flag=True, help="Give studies, series and images new UIDs, anew in each burst.")
@click.option("--study-uid", type=_Uid(), help="Write this StudyInstanceUID over all images.")
@click.option("--series-uid", type=_Uid(), help="Write this SeriesInstanceUID over all images.")
@click.option("--sop-uid", type=_Uid(), help="Write this SOPInstanceUID over the only image.")
@click.option("--seq-from-db", is_flag=True, help="With --generate: number studies on, from PostgreSQL.")
@click.option("--patient-id", metavar="TEXT", help="Write this PatientID over all images.")
@click.option("--patient-name", metavar="TEXT", help="Write this PatientName over all images, e.g. TEST^EDGE.")
@click.option("--series-description", metavar="TEXT", help="Write this SeriesDescription over all images.")
@click.option("--calling-aet", type=_AeTitle(), default="SCANNER", show_default=True, help="Who it says it is.")
@click.option("--called-aet", type=_AeTitle(), help="Whom it calls; GATEWAY_AET of the .env unless said.")
@click.option("--host", help="Where to; GATEWAY_HOST of the .env unless said.")
@click.option("--port", type=click.IntRange(1, 65535), help="GATEWAY_PORT of the .env unless said.")
@click.option(
    "--out-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep here, as files, what was made or written over.",
)
@json_option
@click.pass_context
@pass_site
def scanner(  # noqa: PLR0913 (one parameter an option)
    site: Site,
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    generate: int | None,
    burst: int,
    delay_ms: float,
    rewrite_uids: bool,
    study_uid: str | None,
    series_uid: str | None,
    sop_uid: str | None,
    seq_from_db: bool,
    patient_id: str | None,
    patient_name: str | None,
    series_description: str | None,
    calling_aet: str,
    called_aet: str | None,
    host: str | None,
    port: int | None,
    out_dir: Path | None,
    as_json: bool,
) -> None:
    """Send DICOM files, folders of them, or made-up studies to the gateway.

    \b
    Examples:
      orthanc simulate scanner ./study --calling-aet CT1
      orthanc simulate scanner ./study --burst 5 --delay-ms 50 --rewrite-uids
      orthanc simulate scanner --generate 3 --seq-from-db --patient-id EDGE --patient-name TEST^EDGE

    Files are sent byte for byte unless something is written over them. --seq-from-db gives generated studies the
    PatientID EDGE-7, the StudyID 7 and the AccessionNumber SIM-7, and the next ones 8.

    Exit code: 0 all images were taken, 2 some were not, or none could be sent.
    """
    changes = Changes(
        new_uids=rewrite_uids,
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        patient_id=patient_id,
        patient_name=patient_name,
        series_description=series_description,
    )
    if bool(paths) == bool(generate):
        raise click.UsageError("Name files or folders, or say --generate: one of them.")
    if seq_from_db and not generate:
        raise click.UsageError("--seq-from-db numbers what is generated: say --generate too.")
    if generate:
        originals = images.generated(
            generate, changes, (lambda: drills.next_number(site.db)) if seq_from_db else None
        )
        changes = replace(changes, patient_id=None, patient_name=None, series_description=None)
    else:
        originals = _read(paths)
    if sop_uid and len(originals) > 1:
        raise click.UsageError(f"--sop-uid is for one image, and there are {len(originals)}.")
    settings = site.settings
    peer = Peer(host or settings.gateway_host, port or settings.gateway_port, called_aet or settings.gateway_aet)
    if not peer.port:
        raise click.UsageError("No gateway is known here: say --host, --port and --called-aet.")
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
    drafts = list(images.drafts(originals, changes, rounds=burst))
    simulated = Scanner(peer=peer, aet=calling_aet, delay=delay_ms / 1000, keep=out_dir)
    with bar(f"to {peer.aet}", len(drafts)) as done:
        report = _send(simulated, drafts, done)
    code = 0 if report.count("sent") == len(report.images) else 2
    if as_json:
        write_json({**_document(report, peer, calling_aet), "exit_code": code})
    else:
        _print(Page(), report, peer, calling_aet)
    ctx.exit(code)


def _read(paths: Sequence[Path]) -> list[Original]:
    try:
        originals, others = images.files(paths)
    except UnreadableFile as error:
        raise NothingSent(f"nothing was sent: {error}", hint="name DICOM files, or folders that have some") from error
    if not originals:
        raise NothingSent(
            f"nothing was sent: there is no DICOM file below {', '.join(map(str, paths))}",
            hint="`orthanc simulate scanner --generate 1` makes some up",
        )
    if others:
        warn(f"{count(len(others), 'file is', 'files are')} left out, e.g. {others[0]}")
    return originals


def _send(simulated: Scanner, drafts: Sequence[Draft], done: Callable[[], None]) -> Report:
    """
    Raises:
        NothingSent: there was no association.
    """
    peer = simulated.peer
    where = f"{peer.aet} at {peer.host}:{peer.port}"
    try:
        return simulated.send(drafts, lambda _: done())
    except AssociationRejected as error:
        raise NothingSent(
            f"{simulated.aet} is rejected by {where}: {error}",
            hint="gateway.yml lists who may send (peers); --calling-aet says who this is, --called-aet whom it calls",
        ) from error
    except DimseError as error:
        raise NothingSent(
            f"nothing could be sent to {where}: {error}",
            hint="`orthanc status` says whether the gateway runs; --host and --port say where it is",
        ) from error


def _document(report: Report, peer: Peer, calling_aet: str) -> dict[str, Any]:
    return {
        "peer": {"host": peer.host, "port": peer.port, "aet": peer.aet},
        "calling_aet": calling_aet,
        "sent": report.count("sent"),
        "refused": report.count("refused"),
        "not_sent": report.count("not sent"),
        "bytes": report.bytes_sent,
        "seconds": round(report.seconds, 3),
        "milliseconds": {"median": report.latency(0.5), "p95": report.latency(0.95), "most": report.latency(1.0)},
        "studies": list(dict.fromkeys(image.study_uid for image in report.images)),
        "images": [asdict(image) for image in report.images],
    }


def _print(page: Page, report: Report, peer: Peer, calling_aet: str) -> None:
    page.title("📡", f"SIMULATED SCANNER: {calling_aet} → {peer.aet} ({peer.host}:{peer.port})")
    page.blank()
    rate = report.count("sent") / report.seconds if report.seconds else 0.0
    page.line(
        f"{count(report.count('sent'), 'image')} sent, {size(report.bytes_sent)} in {report.seconds:.1f} s:"
        f" {rate:.1f} a second{_latencies(report)}",
        _SIGNS["sent"],
        indent=0,
    )
    _print_failures(page, report.images)
    studies = list(dict.fromkeys(image.study_uid for image in report.images if image.outcome == "sent"))
    if not studies:
        return
    page.section("STUDIES")
    for uid in studies[:_LISTED]:
        page.line(uid)
    if len(studies) > _LISTED:
        page.line(f"… and {len(studies) - _LISTED:,} more")
    page.blank()
    page.rule()
    page.actions([(f"orthanc history {studies[0]}", "What became of it")])


def _latencies(report: Report) -> str:
    median, p95 = report.latency(0.5), report.latency(0.95)
    return "" if median is None or p95 is None else f", answered within {median:g} ms (95 %: {p95:g} ms)"


def _print_failures(page: Page, images: Sequence[Sent]) -> None:
    """What was not taken, by its reason."""
    failures = Counter((image.outcome, image.reason or "") for image in images if image.outcome != "sent")
    for (outcome, reason), number in failures.most_common(_LISTED):
        page.line(f"{count(number, 'image')} {outcome}: {reason}", _SIGNS[outcome], indent=0)
