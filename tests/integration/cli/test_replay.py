"""A changed routes.yml over the studies that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import ROUTES, CommandLine, Site
from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study, results_for

from pacsops.delivery import desk
from pacsops.orthanc import Modality, Orthanc, ensure
from pacsops.orthanc import facts as orthanc_facts
from pacsops.router import replay as over


@pytest.fixture
def changed(site: Site, orthanc: OrthancServer, tmp_path: Path) -> Path:
    """Routes in force, studies they are about, and a file that sends reports to the archive instead of MODLINK."""
    site.routes_in_force()
    for name in ("MERCURE", "MODLINK", "ARCHIVE"):
        ensure(orthanc.client, Modality(name=name, aet=name, host="127.0.0.1", port=104))
    legs = a_study(description="Bilateral Leg Length").with_series("CR", sizes=[(64, 64), (128, 128)])
    legs.in_(orthanc)
    results_for(legs.datasets[0]).with_series("SR").in_(orthanc)
    a_study(description="CHEST").with_series("CT", instances=3).in_(orthanc)
    file = tmp_path / "new-routes.yml"
    file.write_text(ROUTES.replace("to: MODLINK", "to: ARCHIVE"))
    return file


def test_replay_tells_what_is_gained_and_lost_and_changes_nothing(
    site: Site, orthanc: OrthancServer, cli: CommandLine, changed: Path
) -> None:
    result = cli("routes", "replay", "--file", str(changed))

    assert result.exit_code == 0
    assert "ROUTES REPLAYED over 2 studies" in result.stdout
    assert "ARCHIVE: 3 images more (1 study more); nothing less" in result.stdout
    assert "MODLINK: nothing more; 3 images less (1 study less)" in result.stdout
    assert "1 delivery gained, 1 lost in 1 study. Nothing was changed." in result.stdout
    assert desk.deliveries(site.database) == []


def test_json_of_replay_keeps_its_contract(cli: CommandLine, changed: Path) -> None:
    answer = cli.json("routes", "replay", "--since", "7d", "--file", str(changed))

    assert answer.keys() >= {"gained", "lost", "counts", "routes", "destinations", "studies", "studies_affected"}
    (gained,), (lost,) = answer["gained"], answer["lost"]
    assert (gained["route"], gained["destination"], gained["level"], gained["images"]) == (
        *("results_to_modlink", "ARCHIVE", "study"),
        3,
    )
    assert lost == {**gained, "destination": "MODLINK"}
    assert answer["counts"] == {"gained": 1, "lost": 1}
    assert {row["destination"]: (row["before"], row["after"]) for row in answer["routes"]} == {
        "MODLINK": (1, 0),
        "ARCHIVE": (0, 1),
    }


def test_studies_older_than_since_are_left_out(cli: CommandLine, changed: Path) -> None:
    assert cli.json("routes", "replay", "--since", "2099-01-01", "--file", str(changed))["studies"] == 0


def test_a_file_that_is_in_force_is_compared_with_the_one_before_it(
    site: Site, cli: CommandLine, changed: Path
) -> None:
    site.routes_in_force(changed.read_text())

    answer = cli.json("routes", "replay")

    assert [delivery["destination"] for delivery in answer["gained"]] == ["ARCHIVE"]
    assert "compared with the file before it" in cli("routes", "replay").stderr


def test_before_the_first_routes_everything_is_gained(
    site: Site, orthanc: OrthancServer, cli: CommandLine, tmp_path: Path
) -> None:
    a_study().with_series("SR").in_(orthanc)
    site.settings.routes_file.write_text(ROUTES)

    answer = cli.json("routes", "replay")

    assert [(row["route"], row["gained"]) for row in answer["routes"]] == [("results_to_modlink", 1)]
    assert answer["unknown_destinations"]


def test_an_invalid_file_is_refused_with_its_problems(cli: CommandLine, changed: Path) -> None:
    changed.write_text(ROUTES.replace("modality: SR", "modalty: SR"))
    result = cli("routes", "replay", "--file", str(changed))

    assert result.exit_code == 2
    assert "modalty" in result.stderr
    assert result.stdout == ""


def test_the_largest_image_and_tags_of_the_files_are_decided_as_by_the_router(
    orthanc: OrthancServer, cli: CommandLine, changed: Path
) -> None:
    changed.write_text(
        ROUTES
        + """\
  - name: knees
    match: {PatientComments: knee}
    action: {send: highest_resolution, to: ARCHIVE}
"""
    )
    small, large = (64, 64), (256, 256)
    a_study().with_series("CR", sizes=[large], attributes={"PatientComments": "elbow"}).with_series(
        "CR", sizes=[small, small], attributes={"PatientComments": "KNEE"}
    ).in_(orthanc)

    (gained,) = cli.json("routes", "replay", "--file", str(changed))["gained"]

    assert (gained["level"], gained["route"]) == ("instance", "knees")


@pytest.mark.parametrize("by_series", [True, False], ids=["by series", "by image"])
def test_many_studies_are_read_in_bulk_and_as_one_by_one(
    orthanc: OrthancServer, monkeypatch: pytest.MonkeyPatch, by_series: bool
) -> None:
    monkeypatch.setattr(orthanc_facts, "_IMAGES_AT_ONCE", 4)
    ids = []
    for number in range(5):
        study = a_study(description=f"study {number}").with_series("CT", instances=2).with_series("SR")
        ids.append(study.in_(orthanc, calling_aet=f"CT_{number % 2}"))
    headers = orthanc.client.studies_of(ids)
    asked: list[str] = []
    monkeypatch.setattr(Orthanc, "bulk_content", _counted(Orthanc.bulk_content, asked))

    found = list(orthanc_facts.facts_of_studies(orthanc.client, headers, by_series=by_series))

    assert asked == (["Series"] if by_series else ["Series", *["Instance"] * 3])
    for header, facts in found:
        _, alone = orthanc_facts.study_facts(orthanc.client, header.study_id)
        assert [i.instance_id for i in facts.instances] == [i.instance_id for i in alone.instances]
        for one, other in zip(facts.instances, alone.instances, strict=True):
            keywords = orthanc_facts.SERIES_KEYWORDS if by_series else orthanc_facts.INDEXED_KEYWORDS
            assert one.tags == {key: value for key, value in other.tags.items() if key in keywords}
            assert (one.series_id, one.sender_aet) == (other.series_id, other.sender_aet)
    assert {header.study_id for header, _ in found} == set(ids)


def _counted(ask: object, asked: list[str]) -> object:
    def bulk_content(self: Orthanc, resources: object, level: str, **options: object) -> object:
        asked.append(level)
        return ask(self, resources, level, **options)  # type: ignore[operator]

    return bulk_content


def test_a_study_deleted_meanwhile_is_left_out(orthanc: OrthancServer) -> None:
    kept, deleted = a_study().with_series("CT").in_(orthanc), a_study().with_series("CT").in_(orthanc)
    headers = orthanc.client.studies_of([kept, deleted])
    orthanc.delete_study(deleted)

    found = orthanc_facts.facts_of_studies(orthanc.client, headers, by_series=False)

    assert [header.study_id for header, _ in found] == [kept]


def test_the_replay_says_how_far_it_is(orthanc: OrthancServer, changed: Path, site: Site) -> None:
    told: list[tuple[int, int]] = []
    before, after = (over.load_routes(text) for text in (ROUTES, changed.read_text()))

    over.replay(orthanc.client, before, after, None, lambda done, held: told.append((done, held)))

    assert told == [(2, 2)]
