"""How many studies a second the routes decide about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from tests.support.postgres import PostgresServer

from benchmarks.measure import Figure, in_turns, rate
from benchmarks.parts import orthanc_id
from pacsops.routes import InstanceFacts, RouteTable, StudyFacts, load_routes

ROUNDS = 3
SECONDS = 0.3
AET_OF = {"MERCURE": "MERCURE", "LPCHROUTER": "LPCHROUTER", "LPCHTROUTER": "LPCHTROUTER", "MODLINK": "MODLINK"}
THREE_ROUTES = """
routes:
  - name: bone_length_to_ai
    match: {study_description: {contains: BONE LENGTH}, manufacturer: {not_equals: STANFORDAIDE}}
    action: {send: study, to: MERCURE}
  - name: ai_qa_to_pacs
    match:
      manufacturer: {equals: STANFORDAIDE}
      series_description: {contains: QA Visualization, not_contains: Table}
    action: {send: instance, to: [LPCHROUTER, LPCHTROUTER]}
  - name: ai_sr_to_modlink
    match: {manufacturer: {equals: STANFORDAIDE}, modality: {equals: SR}}
    action: {send: instance, to: MODLINK}
"""
Chosen = tuple[str, str, str, str, tuple[str, ...]]
"""Route, destination, level, resource, instances."""


def measure(_: PostgresServer) -> list[Figure]:
    """Studies that one route of the table matches; no database."""
    three, hundred = load_routes(THREE_ROUTES), load_routes(_hundred_routes())
    figures = []
    for size in (4, 500):
        study = _study(size)
        assert {_chosen(three, study)} == {tuple(hand_coded(study))}, "the peer decides something else"
        assert len(hundred.select(study, {})) == 1
        value, peer_value, value_of_hundred = in_turns(
            _deciding(partial(three.select, study, AET_OF)),
            _deciding(partial(hand_coded, study)),
            _deciding(partial(hundred.select, study, AET_OF)),
            rounds=ROUNDS,
        )
        figures += [
            Figure(
                name=f"3 routes, a study of {size} images",
                value=value,
                unit="studies/s",
                peer="the same three as Python if/else",
                peer_value=peer_value,
            ),
            Figure(name=f"100 routes, a study of {size} images", value=value_of_hundred, unit="studies/s"),
        ]
    return figures


def hand_coded(study: StudyFacts) -> list[Chosen]:
    """THREE_ROUTES and the loop guard, as a programmer who needs no language would write them."""
    bone, qa, sr = False, [], []
    for image in study.instances:
        tags = image.tags
        manufacturer = tags.get("Manufacturer", "").strip().casefold()
        if manufacturer != "stanfordaide":
            bone = bone or "bone length" in tags.get("StudyDescription", "").casefold()
            continue
        series = tags.get("SeriesDescription", "").casefold()
        if "qa visualization" in series and "table" not in series:
            qa.append(image)
        if tags.get("Modality", "").strip().casefold() == "sr":
            sr.append(image)
    chosen: list[Chosen] = []
    if bone and (images := _not_from("MERCURE", study.instances)):
        chosen.append(("bone_length_to_ai", "MERCURE", "study", study.study_id, images))
    for images_of, route, destinations in (
        (qa, "ai_qa_to_pacs", ("LPCHROUTER", "LPCHTROUTER")),
        (sr, "ai_sr_to_modlink", ("MODLINK",)),
    ):
        for destination in destinations:
            chosen += [
                (route, destination, "instance", image, (image,)) for image in _not_from(destination, images_of)
            ]
    return chosen


def _not_from(aet: str, images: Iterable[InstanceFacts]) -> tuple[str, ...]:
    return tuple(sorted(image.instance_id for image in images if image.sender_aet != aet))


def _chosen(table: RouteTable, study: StudyFacts) -> tuple[Chosen, ...]:
    return tuple(
        (found.route.name, found.destination, found.level, found.resource_id, found.instances)
        for found in table.select(study, AET_OF)
    )


def _deciding(decide: Callable[[], object]) -> Callable[[], float]:
    def work() -> int:
        decide()
        return 1

    return lambda: rate(work, seconds=SECONDS)


def _hundred_routes() -> str:
    return "routes:\n" + "\n".join(
        f"  - name: protocol_{number}\n"
        f"    match: {{modality: CR, study_description: {{contains: PROTOCOL {number:02}}}}}\n"
        f"    action: {{to: PACS{number}}}"
        for number in range(100)
    )


def _study(size: int) -> StudyFacts:
    tags = {
        "PatientName": "DOE^JANE",
        "PatientID": "P1",
        "StudyDescription": "XR BONE LENGTH PROTOCOL 50",
        "Modality": "CR",
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "SeriesDescription": "AP STANDING",
    }
    images = (
        InstanceFacts(orthanc_id(), f"series{number // 100}", "CR_ROOM1", {**tags, "InstanceNumber": str(number)})
        for number in range(size)
    )
    return StudyFacts(orthanc_id(), tuple(images))
