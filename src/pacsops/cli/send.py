"""`orthanc send`: one study to one destination, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click

from pacsops.cli.completion import destination_names
from pacsops.cli.deliveries import warn_without_router
from pacsops.cli.orders import warn_of_silence
from pacsops.cli.parameters import json_option, someone_is_there, yes_option
from pacsops.cli.render import Page, count, moment, now, to_type, warn, write_json
from pacsops.cli.site import Site, operator, pass_site
from pacsops.delivery import desk, manual
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.manual import Portion
from pacsops.delivery.model import Delivery, Status
from pacsops.errors import (
    AlreadyDelivered,
    AmbiguousStudy,
    DatabaseUnreachable,
    NotFoundInOrthanc,
    NothingToDo,
    OrthancUnreachable,
    UnknownDestination,
    UnknownSeries,
    UnknownStudy,
)
from pacsops.orthanc import StudyHeader, all_modalities, study_facts
from pacsops.router.evaluate import identity
from pacsops.routes import MANUAL, InstanceFacts, Selection, StudyFacts

_SHORTEST_PREFIX = 6


@click.command("send")
@click.argument("study")
@click.argument("destination", shell_complete=destination_names)
@click.option(
    "--series",
    "wanted",
    multiple=True,
    metavar="SERIES",
    help="Only this series: its number, SeriesInstanceUID or Orthanc id; may be given several times.",
)
@click.option("--again", is_flag=True, help="Once more what was delivered by hand before.")
@yes_option
@json_option
@pass_site
def send(
    site: Site, study: str, destination: str, wanted: tuple[str, ...], again: bool, yes: bool, as_json: bool
) -> None:
    """Send a study to a destination by hand.

    \b
    Examples:
      orthanc send ACC-2026-0815 MODLINK
      orthanc send 6b9e19d9-6209 MODLINK --series 2 --yes

    STUDY is an Orthanc identifier or its first characters, a StudyInstanceUID or an accession number; Orthanc has to
    hold it, routes.yml need not name it. It becomes a delivery of the route `manual`: tried again while DESTINATION
    is away, shown by show-pending, show-stuck and history, and before what routes send.

    On a terminal it asks before it sends. What was sent by hand before is sent once more with --again, or when the
    question is answered so; images that came since then go out without that.

    Exit code: 0 ordered, 1 it is on its way already or nothing was changed, 2 it cannot be ordered.
    """
    _require_database(site)
    header, facts = _study(site, study)
    modalities = all_modalities(site.orthanc)
    if destination not in modalities:
        raise UnknownDestination(
            f"Orthanc has no destination {destination}",
            hint=f"it has {', '.join(sorted(modalities)) or 'none'}; `orthanc add-destination` adds one",
        )
    portions = manual.portions(site.db, header.study_id, _selections(facts, destination, wanted))
    chosen = [portion for portion in portions if portion.standing != "on its way"]
    if not as_json:
        _announce(Page(), site, header, destination, portions)
    if not chosen:
        if as_json:
            write_json(_document(header, destination, portions, []))
        raise NothingToDo(
            "Nothing to do: it is on its way already.", hint=f"orthanc history {to_type(header.study_id, study)}"
        )
    _agree(header, destination, chosen, again=again, yes=yes)
    deliveries = manual.order(site.db, identity(header), _received_at(header), chosen, by=operator())
    if as_json:
        write_json(_document(header, destination, portions, deliveries))
    else:
        _conclude(Page(), deliveries, to_type(header.study_id, study))
    warn_without_router(ROUTER.newest(site.db))
    warn_of_silence(site.db, deliveries)


def _require_database(site: Site) -> None:
    try:
        _ = site.db
    except DatabaseUnreachable as error:
        raise DatabaseUnreachable(
            f"{error}. What cannot be tracked is not sent.", hint="orthanc status: what runs"
        ) from error


def _study(site: Site, name: str) -> tuple[StudyHeader, StudyFacts]:
    """The one study of this name, as Orthanc holds it.

    Raises:
        UnknownStudy, AmbiguousStudy, OrthancUnreachable
    """
    try:
        found = site.orthanc.lookup(name.strip())
        if len(found) > 1:
            raise AmbiguousStudy(
                f"{len(found)} studies are known by {name!r}:" + "".join(map(_line, site.orthanc.studies_of(found))),
                hint=f"name one by its Orthanc id: orthanc send {found[0][:13]} …",
            )
        study_id = found[0] if found else desk.find_study(site.db, name).study_id
        return study_facts(site.orthanc, study_id)
    except NotFoundInOrthanc as error:
        raise UnknownStudy(
            f"Orthanc no longer holds the study {name!r}", hint="orthanc history says when it was deleted"
        ) from error
    except OrthancUnreachable as error:
        raise OrthancUnreachable(
            f"{error}. Which images the study has is not known, nothing was ordered.", hint="orthanc start orthanc"
        ) from error


def _line(header: StudyHeader) -> str:
    date = header.study_date.isoformat() if header.study_date else "no date"
    said = [header.patient_name or "no name", header.study_description or "no description"]
    return f"\n  {header.study_id[:13]}  {date}  {', '.join(said)}"


def _selections(facts: StudyFacts, destination: str, wanted: Sequence[str]) -> list[Selection]:
    """The study as a whole, or each of the series that were named.

    Raises:
        UnknownSeries: one names none, or several.
    """
    if not wanted:
        instances = [instance.instance_id for instance in facts.instances]
        return [manual.selection(destination, "study", facts.study_id, instances)]
    series: dict[str, list[InstanceFacts]] = {}
    for instance in facts.instances:
        series.setdefault(instance.series_id, []).append(instance)
    chosen = dict.fromkeys(_series(series, word) for word in wanted)
    return [
        manual.selection(destination, "series", series_id, [image.instance_id for image in series[series_id]])
        for series_id in chosen
    ]


def _series(series: dict[str, list[InstanceFacts]], word: str) -> str:
    found = [
        series_id
        for series_id, images in series.items()
        if word in (series_id, images[0].tags.get("SeriesInstanceUID"), images[0].tags.get("SeriesNumber"))
        or (len(word) >= _SHORTEST_PREFIX and series_id.startswith(word))
    ]
    if len(found) == 1:
        return found[0]
    listed = "".join(
        f"\n  {series_id[:13]}  number {tags.get('SeriesNumber') or '–'}, {tags.get('Modality') or 'no modality'},"
        f" {tags.get('SeriesDescription') or 'no description'}, {count(len(images), 'image')}"
        for series_id, images in series.items()
        if (tags := images[0].tags) is not None
    )
    several = count(len(found), "series", "series") if found else "none"
    raise UnknownSeries(
        f"{word!r} names {several} of the study's series:{listed}",
        hint="name it by the first column, --series " + next(iter(series))[:13],
    )


def _agree(header: StudyHeader, destination: str, chosen: Sequence[Portion], *, again: bool, yes: bool) -> None:
    """
    Raises:
        AlreadyDelivered: it was done before, and nobody says that it is wanted once more.
        NothingToDo: the person says no.
    """
    images = sum(len(portion.selection.instances) for portion in chosen)
    done = [portion.before for portion in chosen if portion.standing == "done before" and portion.before]
    ask = someone_is_there() and not yes
    if done and not again:
        first = done[0]
        said = "delivered" if first.status is Status.SUCCESS else first.status.value
        when = f" {moment(first.completed_at)}" if first.completed_at else ""
        if not ask:
            raise AlreadyDelivered(
                f"study {header.study_id[:13]} was sent to {destination} by hand before"
                f" (delivery {first.id}, {said}{when})",
                hint="--again sends it once more",
            )
        question = f"It was {said}{when} already. Send {count(images, 'image')} to {destination} once more?"
    else:
        question = f"Send {count(images, 'image')} to {destination}?"
    if ask and not click.confirm(question, default=False, err=True):
        raise NothingToDo("Nothing was changed.")


def _announce(page: Page, site: Site, header: StudyHeader, destination: str, portions: Sequence[Portion]) -> None:
    page.title("📤", f"SENDING TO {destination}")
    page.blank()
    page.facts(
        [
            ("Study", page.study(header.study_id)),
            ("Patient", header.patient_name or "–"),
            ("Description", header.study_description or "–"),
            ("Accession", header.accession_number or "–"),
        ],
        indent=0,
    )
    page.blank()
    for portion in portions:
        what = count(len(portion.selection.instances), "image")
        of = "" if portion.selection.level == "study" else f" of series {page.study(portion.selection.resource_id)}"
        before = portion.before
        stands = f": {portion.standing} (delivery {before.id}, {before.status.upper()})" if before else ""
        page.line(f"{what}{of}{stands}")
    for delivery in desk.deliveries(
        site.db, study_id=header.study_id, destination=destination, statuses={Status.SUCCESS}
    ):
        if delivery.route != MANUAL and delivery.completed_at:
            page.line(
                f"route {delivery.route} delivered {count(delivery.delivered_count, 'image')} there"
                f" {moment(delivery.completed_at)}",
                "⚠",
            )
    if not header.is_stable:
        warn("Images of this study are still arriving: those that come later are not sent by this.")
    page.blank()


def _conclude(page: Page, deliveries: Sequence[Delivery], study: str) -> None:
    numbers = ", ".join(str(delivery.id) for delivery in deliveries)
    page.line(f"Ordered: delivery {numbers}. The router sends it within a second.", "✅", indent=0)
    page.line(f"Monitor with: orthanc history {study}", indent=0)


def _document(
    header: StudyHeader, destination: str, portions: Sequence[Portion], deliveries: Sequence[Delivery]
) -> dict[str, object]:
    standing: dict[tuple[str, str], str] = {
        (p.selection.level, p.selection.resource_id): p.standing for p in portions
    }
    known = {delivery.id: delivery for delivery in deliveries}
    kept = [p.before for p in portions if p.before is not None and p.before.id not in known]
    return {
        "study_id": header.study_id,
        "study_uid": header.study_uid,
        "destination": destination,
        "count": len(deliveries),
        "deliveries": [
            {**delivery.as_dict(), "was": standing[(delivery.level, delivery.resource_id)]}
            for delivery in [*deliveries, *kept]
        ],
    }


def _received_at(header: StudyHeader) -> datetime:
    """When its last image came: Orthanc's LastUpdate, UTC to the second."""
    with suppress(ValueError):
        return datetime.strptime(header.last_update, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return now()
