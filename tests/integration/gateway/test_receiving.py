"""C-STORE to the gateway by real senders: what is answered with success lies in the spool, byte by byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE
from tests.support.dimse import EXPLICIT, SYNTAXES, Sample, a_sample, dcmtk, in_loop
from tests.support.network import eventually
from tests.support.receiver import AET, ReceivingHost, ct_files, data_set_of, same_uid_other_bytes

from pacsops.dicom.synthetic import SOP_CLASSES, Study, part10
from pacsops.dimse import StoredInstance, Terms, associate, contexts_to_store
from pacsops.gateway.spool import HINTS


@pytest.fixture
def host() -> Iterator[ReceivingHost]:
    with ReceivingHost() as host:
        host.start()
        yield host


async def sent(host: ReceivingHost, *paths: Path, aet: str = "SCANNER", window: int = 1) -> None:
    """By our own sender; success to all of them."""
    instances = []
    for path in paths:
        with StoredInstance(path) as stored:
            instances.append(stored.instance)
    async with associate(host.peer, aet, contexts_to_store(instances), Terms(window=window)) as association:
        await asyncio.gather(*(association.store(path) for path in paths))


async def sent_by_pynetdicom(host: ReceivingHost, *samples: Sample) -> list[int]:
    """The statuses it got."""

    def send() -> list[int]:
        ae = AE(ae_title="SCANNER")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 20
        for sample in samples:
            ae.add_requested_context(sample.sop_class_uid, sample.transfer_syntax_uid)
        association = ae.associate("127.0.0.1", host.port, ae_title=AET)
        assert association.is_established
        statuses = [association.send_c_store(sample.path).Status for sample in samples]
        association.release()
        return statuses

    return await asyncio.to_thread(send)


@in_loop
async def test_storescu_is_received(host: ReceivingHost, tmp_path: Path) -> None:
    paths = ct_files(tmp_path, 3, size=(300, 200))

    code, said = await dcmtk("storescu", "-aet", "SCANNER", "-aec", AET, "127.0.0.1", host.port, *paths)

    assert code == 0, said
    for path in paths:
        dataset = dcmread(path)
        kept = dcmread(host.spool / str(dataset.StudyInstanceUID) / f"{dataset.SOPInstanceUID}.dcm")
        # storescu encodes elements around the pixels anew: equal as data sets, not as bytes.
        assert kept == dataset
        assert kept.file_meta.SourceApplicationEntityTitle == "SCANNER"
        assert kept.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert not host.under_way


@in_loop
async def test_every_transfer_syntax_is_kept_byte_by_byte(host: ReceivingHost, tmp_path: Path) -> None:
    samples = [a_sample(tmp_path, syntax) for syntax in SYNTAXES]

    assert await sent_by_pynetdicom(host, *samples) == [0x0000] * len(SYNTAXES)

    assert host.digests() == {sample.sop_instance_uid: {sample.sha256} for sample in samples}
    for file in host.files:
        with StoredInstance(host.spool / file) as stored:
            (sample,) = (one for one in samples if one.sop_instance_uid == stored.instance.sop_instance_uid)
            assert stored.instance.transfer_syntax_uid == sample.transfer_syntax_uid


@pytest.mark.parametrize("window", [1, 16])
@in_loop
async def test_our_own_sender_is_received_byte_by_byte(host: ReceivingHost, tmp_path: Path, window: int) -> None:
    study = Study()
    for kind in SOP_CLASSES:
        study.add_series(kind, instances=3)
    paths = []
    for dataset in study.datasets:
        paths.append(tmp_path / f"{dataset.SOPInstanceUID}.dcm")
        paths[-1].write_bytes(part10(dataset))

    await sent(host, *paths, window=window)

    assert host.digests() == {uid: {digest} for uid, digest in map(data_set_of, paths)}
    assert host.files == sorted(f"{study.study_uid}/{path.name}" for path in paths)


@in_loop
async def test_nothing_is_left_of_an_instance_whose_sender_vanished(host: ReceivingHost, tmp_path: Path) -> None:
    (whole,) = ct_files(tmp_path, 1)
    (path,) = ct_files(tmp_path, 1, size=(2000, 2000))
    with StoredInstance(path) as stored:
        contexts = contexts_to_store([stored.instance])
    async with associate(host.peer, "SCANNER", contexts) as association:
        sending = asyncio.create_task(association.store(path))
        while not host.under_way:
            await asyncio.sleep(0)
            assert not sending.done()
        sending.cancel()
        await asyncio.wait([sending])

    await asyncio.to_thread(eventually, lambda: not host.under_way, what="the part going away")
    assert not host.files
    await sent(host, whole)
    assert len(host.files) == 1


@in_loop
async def test_an_instance_sent_again_is_kept_once(host: ReceivingHost, tmp_path: Path) -> None:
    host.configure(peers=[{"aet": "SCANNER"}, {"aet": "OTHER"}])
    host.wait_for_log("configuration_loaded", 2)
    (path,) = ct_files(tmp_path, 1)

    await sent(host, path)
    await sent(host, path)
    await sent(host, path, aet="OTHER")

    assert len(host.files) == 1
    assert not host.under_way


@in_loop
async def test_other_bytes_under_a_known_uid_are_kept_beside(host: ReceivingHost, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path, 1)
    other, third = same_uid_other_bytes(path), tmp_path / "third.dcm"
    third.write_bytes(path.read_bytes()[:-2] + b"\x12\x34")

    for one in (path, other, third, other, path, third):
        await sent(host, one)

    study, _, name = host.files[0].partition("/")
    uid = name.partition("~")[0].removesuffix(".dcm")
    assert set(host.files) == {f"{study}/{uid}{number}.dcm" for number in ("", "~2", "~3")}
    assert host.digests() == {uid: {data_set_of(one)[1] for one in (path, other, third)}}
    assert data_set_of(host.spool / f"{study}/{uid}.dcm") == data_set_of(path)
    host.wait_for_log("other_content_kept_beside", 2)
    assert uid not in host.log


@in_loop
async def test_one_instance_over_many_associations_at_once_is_one_file(host: ReceivingHost, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path, 1, size=(400, 400))

    await asyncio.gather(*(sent(host, path) for _ in range(12)))

    assert len(host.files) == 1


@in_loop
async def test_who_listens_hears_of_each_file(host: ReceivingHost, tmp_path: Path) -> None:
    paths = ct_files(tmp_path, 3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hints:
        hints.bind(str(host.spool / HINTS))
        hints.settimeout(10)
        await sent(host, *paths)
        heard = {(await asyncio.to_thread(hints.recv, 4096)).decode() for _ in paths}

    assert heard == set(host.files)


@in_loop
async def test_the_uids_are_found_behind_much_else(host: ReceivingHost, tmp_path: Path) -> None:
    for syntax in (EXPLICIT, "1.2.840.10008.1.2.1.99"):
        study = Study()
        study.add_series("SC")
        dataset = study.datasets[0]
        dataset.private_block(0x0009, "ACME", create=True).add_new(0x10, "OB", bytes(range(256)) * 4000)
        dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)

        await sent(host, path)

        assert data_set_of(host.spool / study.study_uid / path.name) == data_set_of(path)


@in_loop
async def test_a_receiver_knows_nothing_of_postgresql(host: ReceivingHost, tmp_path: Path) -> None:
    await sent(host, *ct_files(tmp_path, 1))

    assert "psycopg" not in Path(f"/proc/{host.pid}/maps").read_text()
    assert len(host.files) == 1


@in_loop
async def test_no_patient_and_no_uid_is_in_the_log(host: ReceivingHost, tmp_path: Path) -> None:
    study = Study(patient_name="CANARY^NAME", patient_id="CANARYID", accession_number="CANARYACC")
    (path,) = ct_files(tmp_path, 1, study=study)
    await sent(host, path)
    host.stop()

    assert "received calling_aet=SCANNER instances=1" in host.log
    assert not any(word in host.log for word in ("CANARY", study.study_uid, path.stem))
