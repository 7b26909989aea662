"""`orthanc simulate scanner`: what leaves it, byte for byte where nothing was asked to be changed."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.dimse import storescp
from tests.support.network import free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer

from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import StoredInstance

REAL = ("CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm", "reportsi.dcm", "693_J2KI.dcm")


def at(peer: Peer) -> list[str]:
    return ["--host", "127.0.0.1", "--port", str(peer.port), "--called-aet", peer.aet]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies of two images each, in folders, and a file that is no image."""
    for name in ("one", "two"):
        study = Study(seed=name, patient_name="DOE^JANE", patient_id="MRN-7")
        study.add_series("CT", instances=2, attributes={"SourceImageSequence": [_reference(study)]})
        (tmp_path / "images" / name).mkdir(parents=True)
        for number, dataset in enumerate(study.datasets):
            (tmp_path / "images" / name / f"{number}.dcm").write_bytes(part10(dataset))
    (tmp_path / "images" / "readme.txt").write_text("no image")
    return tmp_path / "images"


def _reference(study: Study) -> Dataset:
    """To the first image of the study's first series, and to one that is elsewhere."""
    first = Study(seed=study._seed)
    first.add_series("CT")
    item = Dataset()
    item.ReferencedSOPInstanceUID = first.datasets[0].SOPInstanceUID
    item.ReferencedSOPClassUID = CTImageStorage
    item.FrameOfReferenceUID = "1.2.3.4"
    return item


def data_set(path: Path) -> bytes:
    with StoredInstance(path) as stored:
        return path.read_bytes()[stored.offset :]


def test_real_files_of_any_transfer_syntax_leave_byte_for_byte(cli: CommandLine, tmp_path: Path) -> None:
    sources = [Path(str(get_testdata_file(name))) for name in REAL]
    for number, source in enumerate(sources):
        (tmp_path / f"{number}.dcm").write_bytes(source.read_bytes())
    with Peer("EDGE") as peer:
        sent = cli.json("simulate", "scanner", str(tmp_path), "--calling-aet", "CT1", *at(peer))

    assert (sent["sent"], sent["refused"], sent["not_sent"], sent["exit_code"]) == (len(REAL), 0, 0, 0)
    assert [each.sha256 for each in peer.received] == [
        hashlib.sha256(data_set(source)).hexdigest() for source in sources
    ]
    assert {each.calling_aet for each in peer.received} == {"CT1"}
    assert sent["milliseconds"]["most"] >= sent["milliseconds"]["median"] > 0
    assert sent["bytes"] == sum(len(data_set(source)) for source in sources)


def test_dcmtk_takes_them_too(cli: CommandLine, folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()

    async def received() -> None:
        async with storescp(kept) as port:
            sent = await asyncio.to_thread(
                cli.piped, "simulate", "scanner", str(folder), "--host", "127.0.0.1", "--port", str(port)
            )
            assert sent.returncode == 0, sent.stderr
            assert "1 file is left out" in sent.stderr

    asyncio.run(received())
    assert sorted(map(data_set, kept.iterdir())) == sorted(map(data_set, folder.glob("*/*.dcm")))


def test_generated_studies_arrive_in_orthanc_numbered_on(
    cli: CommandLine, orthanc: OrthancServer, tmp_path: Path
) -> None:
    where = ["--host", "127.0.0.1", "--port", str(orthanc.dicom_port), "--called-aet", "ORTHANC"]
    named = ["--seq-from-db", "--patient-id", "EDGE", "--patient-name", "TEST^EDGE"]
    out = ["--out-dir", str(tmp_path / "made")]
    for _ in range(2):
        sent = cli.json(
            "simulate", "scanner", "--generate", "3", *named, "--series-description", "SYNTHETIC", *where, *out
        )
        assert sent["sent"] == 9

    held = [study["PatientMainDicomTags"] | study["MainDicomTags"] for study in orthanc.client.get("/studies?expand")]
    assert sorted(study["PatientID"] for study in held) == [f"EDGE-{n}" for n in range(1, 7)]
    assert {study["PatientName"] for study in held} == {"TEST^EDGE"}
    assert sorted(study["AccessionNumber"] for study in held) == [f"SIM-{n}" for n in range(1, 7)]
    made = [dcmread(path) for path in (tmp_path / "made").iterdir()]
    assert len(made) == 18
    assert {each.SeriesDescription for each in made} == {"SYNTHETIC"}


def test_rewritten_uids_are_new_in_each_burst_and_keep_what_belongs_together(cli: CommandLine, folder: Path) -> None:
    with Peer("EDGE") as peer:
        sent = cli.json("simulate", "scanner", str(folder), "--rewrite-uids", "--burst", "3", *at(peer))

    before = [dcmread(path) for path in folder.glob("*/*.dcm")]
    after = [each.dataset for each in peer.received]
    assert len(sent["studies"]) == 6
    assert len(set(peer.uids)) == 12
    assert len({each.SeriesInstanceUID for each in after}) == 6
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert not {each[keyword].value for each in before} & {each[keyword].value for each in after}
    for each in after:
        [source] = each.SourceImageSequence
        assert source.ReferencedSOPInstanceUID in set(peer.uids), "a reference leads nowhere"
        assert source.FrameOfReferenceUID == "1.2.3.4"
        assert (each.PatientName, each.PatientID) == ("DOE^JANE", "MRN-7")
    assert {each.PixelData for each in after} == {each.PixelData for each in before}


def test_a_burst_without_new_uids_sends_the_same_again(cli: CommandLine, folder: Path) -> None:
    with Peer("EDGE") as peer:
        assert cli("simulate", "scanner", str(folder), "--burst", "2", *at(peer)).exit_code == 0
    assert peer.uids[:4] == peer.uids[4:]
    assert len({each.sha256 for each in peer.received}) == 4


def test_uids_and_texts_are_written_over_as_said(cli: CommandLine, folder: Path) -> None:
    uids = ["--study-uid", "1.2.3", "--series-uid", "1.2.3.4", "--sop-uid", "1.2.3.4.5"]
    texts = ["--patient-id", "EDGE", "--patient-name", "MÜLLER^JÖRG", "--series-description", "NEU"]
    with Peer("EDGE") as peer:
        [path, *_] = sorted(folder.glob("*/*.dcm"))
        sent = cli.json("simulate", "scanner", str(path), "--rewrite-uids", *uids, *texts, *at(peer))
    [got] = [each.dataset for each in peer.received]
    assert (got.StudyInstanceUID, got.SeriesInstanceUID, got.SOPInstanceUID) == ("1.2.3", "1.2.3.4", "1.2.3.4.5")
    assert (str(got.PatientName), got.PatientID, got.SeriesDescription) == ("MÜLLER^JÖRG", "EDGE", "NEU")
    assert sent["images"][0]["sop_instance_uid"] == peer.uids[0] == "1.2.3.4.5"


def test_a_text_beyond_the_files_character_set_does_not_spoil_its_others(cli: CommandLine, tmp_path: Path) -> None:
    study = Study(attributes={"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"})
    study.add_series("CT")
    (tmp_path / "latin.dcm").write_bytes(part10(study.datasets[0]))
    with Peer("EDGE") as peer:
        cli("simulate", "scanner", str(tmp_path / "latin.dcm"), "--series-description", "頭部", *at(peer))
    [got] = [each.dataset for each in peer.received]
    assert (str(got.PatientName), got.SeriesDescription) == ("Müller^Jörg", "頭部")


def test_a_file_that_cannot_be_written_over_does_not_keep_the_others(cli: CommandLine, folder: Path) -> None:
    broken = folder / "one" / "0.dcm"
    dataset = dcmread(broken)
    del dataset.SOPInstanceUID
    broken.write_bytes(part10(dataset))
    with Peer("EDGE") as peer:
        sent = cli.json("simulate", "scanner", str(folder), "--patient-id", "EDGE", *at(peer))
    assert (sent["sent"], sent["not_sent"], sent["exit_code"]) == (3, 1, 2)
    [lost] = [each for each in sent["images"] if each["outcome"] == "not sent"]
    assert lost["source"] == str(broken)
    assert "cannot be written over" in lost["reason"]


def test_what_is_refused_is_told_by_its_reason_and_the_rest_is_sent(cli: CommandLine, folder: Path) -> None:
    answers = iter([0xA700, 0x0000, 0xB000, 0xA700])
    with Peer("EDGE", status=lambda _: next(answers)) as peer:
        told = cli("simulate", "scanner", str(folder), *at(peer))
    assert told.exit_code == 2
    assert "2 images sent" in told.stdout
    assert "2 images refused: C-STORE answered with status 0xA700, out of resources" in told.stdout


def test_an_association_that_ends_is_told_with_what_was_not_sent(cli: CommandLine, folder: Path) -> None:
    with Peer("EDGE", drops=True) as peer:
        sent = cli.json("simulate", "scanner", str(folder), *at(peer))
    assert (sent["sent"], sent["not_sent"], sent["exit_code"]) == (0, 4, 2)


def test_a_peer_that_rejects_or_is_not_there_is_an_error_with_the_way_on(cli: CommandLine, folder: Path) -> None:
    with Peer("EDGE", rejects=True) as peer:
        rejected = cli("simulate", "scanner", str(folder), "--calling-aet", "NOPE_AET", *at(peer))
    assert rejected.exit_code == 2
    assert "NOPE_AET is rejected by EDGE" in rejected.stderr
    assert "Called AE title not recognised" in rejected.stderr
    assert "gateway.yml" in rejected.stderr
    nobody = cli.json("simulate", "scanner", str(folder), "--host", "127.0.0.1", "--port", str(free_port()))
    assert (nobody["error"]["kind"], nobody["exit_code"]) == ("NothingSent", 2)


def test_the_gateway_of_the_settings_is_where_it_sends(cli: CommandLine, folder: Path, site: Site) -> None:
    with Peer("MINI_EDGE") as peer:
        with cli.env_file.open("a") as env_file:
            env_file.write(f"GATEWAY_HOST=127.0.0.1\nGATEWAY_PORT={peer.port}\nGATEWAY_AET=MINI_EDGE\n")
        sent = cli.json("simulate", "scanner", str(folder))
    assert sent["peer"] == {"host": "127.0.0.1", "port": peer.port, "aet": "MINI_EDGE"}
    assert len(peer.received) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--generate"),
        (["--generate", "1", "{folder}"], "one of them"),
        (["--seq-from-db", "{folder}"], "--generate too"),
        (["{folder}", "--sop-uid", "1.2"], "for one image"),
        (["{folder}", "--study-uid", "1..2"], "no UID"),
        (["{folder}", "--calling-aet", "A\\B"], "no AE title"),
        (["--generate", "1"], "--port"),
    ],
)
def test_what_cannot_be_meant_is_said(cli: CommandLine, folder: Path, arguments: list[Any], said: str) -> None:
    told = cli("simulate", "scanner", *(each.format(folder=folder) for each in arguments))
    assert told.exit_code == 2
    assert said in told.stderr


def test_a_folder_without_images_sends_nothing(cli: CommandLine, tmp_path: Path) -> None:
    told = cli("simulate", "scanner", str(tmp_path), "--port", "1")
    assert told.exit_code == 2
    assert "there is no DICOM file below" in told.stderr
    assert "--generate 1" in told.stderr


def test_a_bar_shows_on_a_terminal_only(cli: CommandLine, folder: Path) -> None:
    with Peer("EDGE") as peer:
        piped = cli.piped("simulate", "scanner", str(folder / "one"), *at(peer))
        code, shown = cli.on_terminal("simulate", "scanner", str(folder / "one"), "--delay-ms", "300", *at(peer))
    assert (piped.returncode, piped.stderr) == (0, "")
    assert code == 0
    assert "to EDGE" in shown
