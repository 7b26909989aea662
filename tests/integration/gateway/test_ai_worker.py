"""The simulated AI worker, between real peers: what it takes, and what it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.dimse import SYNTAXES, dcmtk, in_loop
from tests.support.network import eventually, free_port
from tests.support.peers import Peer

from pacsops import dimse
from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import Handlers, OperationFailed, Policy, associate, contexts_to_store, serve
from pacsops.gateway import ai_worker
from pacsops.gateway.ai_worker import Worker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ai_worker, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(ai_worker, "_WAITS", (0.2,) * 50)


@asynccontextmanager
async def working(gateway: Peer, aet: str = "APP01") -> AsyncIterator[int]:
    """A worker of that gateway; its port."""
    worker = Worker(aet, dimse.Peer("127.0.0.1", gateway.port, gateway.aet))
    policy = Policy(transfer_syntaxes=lambda _: SYNTAXES, called_aets=[aet])
    async with serve("127.0.0.1", 0, Handlers(store=worker.store), policy) as acceptor:
        yield acceptor.port
        worker.close()


async def arrive(peer: Peer, count: int) -> None:
    await asyncio.to_thread(eventually, lambda: len(peer.received) >= count, within=20, what=f"{count} results")


def written(folder: Path, study: Study) -> list[Path]:
    paths = []
    for number, dataset in enumerate(study.datasets):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(part10(dataset))
    return paths


@in_loop
async def test_what_dcmtk_sends_comes_back_as_one_result(tmp_path: Path) -> None:
    study = Study(patient_name="MÜLLER^JÖRG", patient_id="MRN-1")
    study.add_series("CT", instances=2)
    study.add_series("MR")
    files = written(tmp_path, study)
    with Peer("GATEWAY") as gateway:
        async with working(gateway) as port:
            code, said = await dcmtk("storescu", "-aec", "APP01", "127.0.0.1", port, *files)
            assert code == 0, said
            await arrive(gateway, 1)
            # Once more: the same study, and so the same result, whatever was in between.
            await dcmtk("storescu", "-aec", "APP01", "127.0.0.1", port, *files)
            await arrive(gateway, 2)
    first, second = gateway.received
    assert (first.sop_instance_uid, first.sha256) == (second.sop_instance_uid, second.sha256)
    assert first.calling_aet == "APP01"
    result = first.dataset
    assert (str(result.PatientName), result.PatientID) == ("MÜLLER^JÖRG", "MRN-1")
    assert (result.StudyInstanceUID, result.SeriesDescription) == (study.study_uid, "AI_RESULT")
    assert result.SeriesInstanceUID not in {series.series_uid for series in study.series}
    about = {(each.ReferencedSOPInstanceUID, each.ReferencedSOPClassUID) for each in result.SourceImageSequence}
    assert about == {(each.SOPInstanceUID, each.SOPClassUID) for each in study.datasets}


@in_loop
async def test_a_study_that_grew_has_another_result_and_results_have_none(tmp_path: Path) -> None:
    study = Study()
    study.add_series("CT", instances=2)
    result = ai_worker.result("APP02", study.datasets[0], [("1.2", "1.3")])
    first, second = written(tmp_path, study)
    with Peer("GATEWAY") as gateway:
        async with working(gateway) as port, _to(port, [first, second, result]) as association:
            await association.store(result)
            await association.store(first)
            await arrive(gateway, 1)
            await association.store(second)
            await arrive(gateway, 2)
    assert len(set(gateway.uids)) == 2
    assert [len(each.dataset.SourceImageSequence) for each in gateway.received] == [1, 1]


@in_loop
async def test_a_gateway_that_is_away_gets_the_result_when_it_is_back(tmp_path: Path) -> None:
    study = Study()
    study.add_series("CT")
    gateway = Peer("GATEWAY")
    async with working(gateway) as port:
        async with _to(port, written(tmp_path, study)) as association:
            await association.store(tmp_path / "0.dcm")
        await asyncio.sleep(0.6)
        gateway.start()
        try:
            await arrive(gateway, 1)
        finally:
            await asyncio.to_thread(gateway.stop)


@in_loop
async def test_what_says_no_study_is_not_taken(tmp_path: Path) -> None:
    study = Study()
    study.add_series("CT")
    dataset = study.datasets[0]
    del dataset.StudyInstanceUID
    content = part10(dataset)
    with Peer("GATEWAY") as gateway:
        async with working(gateway) as port, _to(port, [content]) as association:
            with pytest.raises(OperationFailed, match="no StudyInstanceUID"):
                await association.store(content)


@asynccontextmanager
async def _to(port: int, sources: list[Path] | list[bytes] | list[Path | bytes]) -> AsyncIterator[dimse.Association]:
    instances = [dimse.StoredInstance(source).instance for source in sources]
    peer = dimse.Peer("127.0.0.1", port, "APP01")
    async with associate(peer, "GATEWAY", contexts_to_store(instances)) as association:
        yield association


def test_a_port_that_is_taken_is_said() -> None:
    with Peer("SOMEONE") as other, pytest.raises(ai_worker.SettingsError, match="cannot listen on"):
        ai_worker.run("APP01", "127.0.0.1", other.port, dimse.Peer("127.0.0.1", free_port(), "G"), delay=0)
