"""The AI round trip: four images in, one to the AI, its picture to two PACS, its report to a third system."""

from pathlib import Path

from tests.unit.routes.builders import image, study

from pacsops.routes import Backoff, RetryPolicy, StudyFacts, read_routes

EXAMPLE = Path(__file__).with_name("example_routes.yml")
DESTINATIONS = ["MERCURE", "LPCHROUTER", "LPCHTROUTER", "MODLINK"]
AET_OF = {name: name for name in DESTINATIONS}

BONE_LENGTH = {"StudyDescription": "XR Bone Length Bilateral", "Modality": "CR", "Manufacturer": "FUJIFILM"}
FROM_SCANNER = (
    image("hip", **BONE_LENGTH, Rows="2000", Columns="1500", InstanceNumber="1"),
    image("whole_leg", **BONE_LENGTH, Rows="8000", Columns="2500", InstanceNumber="2"),
    image("knee", **BONE_LENGTH, Rows="2010", Columns="1500", InstanceNumber="3"),
    image("ankle", **BONE_LENGTH, Rows="1000", Columns="1500", InstanceNumber="4"),
)
MADE_BY_AI = BONE_LENGTH | {"Manufacturer": "StanfordAIDE"}
FROM_AI = (
    image("qa", "ai1", "MERCURE", **MADE_BY_AI | {"SeriesDescription": "QA Visualization"}),
    image("qa_table", "ai2", "MERCURE", **MADE_BY_AI | {"SeriesDescription": "QA Table Visualization"}),
    image("report", "ai3", "MERCURE", **MADE_BY_AI | {"SeriesDescription": "Results", "Modality": "SR"}),
)


def sent(facts: StudyFacts) -> set[tuple[str, str, tuple[str, ...]]]:
    routes = read_routes(EXAMPLE, destinations=DESTINATIONS)
    return {(s.route.name, s.destination, s.instances) for s in routes.select(facts, AET_OF)}


def test_of_what_the_scanner_sends_only_the_sharpest_image_goes_to_the_ai() -> None:
    assert sent(study(*FROM_SCANNER)) == {("bone_length_to_ai", "MERCURE", ("whole_leg",))}


def test_what_the_ai_answers_reaches_its_readers_and_never_the_ai_again() -> None:
    assert sent(study(*FROM_SCANNER, *FROM_AI)) == {
        ("bone_length_to_ai", "MERCURE", ("whole_leg",)),
        ("ai_qa_to_pacs", "LPCHROUTER", ("qa",)),
        ("ai_qa_to_pacs", "LPCHTROUTER", ("qa",)),
        ("ai_sr_to_modlink", "MODLINK", ("report",)),
    }


def test_a_study_the_file_does_not_speak_of_stays_where_it_is() -> None:
    assert sent(study(image("chest", StudyDescription="XR Chest", Modality="CR"))) == set()


def test_the_file_says_how_persistent_each_route_is() -> None:
    routes = read_routes(EXAMPLE)
    assert [(route.name, route.priority, route.retry) for route in routes.routes] == [
        ("bone_length_to_ai", 10, RetryPolicy(3, Backoff.EXPONENTIAL, 60.0)),
        ("ai_qa_to_pacs", 20, RetryPolicy(3, Backoff.EXPONENTIAL, 30.0)),
        ("ai_sr_to_modlink", 20, RetryPolicy(5, Backoff.EXPONENTIAL, 60.0)),
    ]
    assert routes.destinations == frozenset(DESTINATIONS)
