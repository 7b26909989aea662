"""Whom the gateway does not let in, and what it does not take: the answer says why, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]
from pynetdicom.presentation import AllStoragePresentationContexts
from tests.support.dimse import EXPLICIT, dcmtk, in_loop
from tests.support.network import accepts, eventually
from tests.support.receiver import AET, ReceivingHost, ct_files, uids

from pacsops.dicom.synthetic import Study
from pacsops.dimse import (
    AssociationRejected,
    Context,
    ContextNotAccepted,
    Instance,
    OperationFailed,
    Peer,
    StoredInstance,
    associate,
    contexts_to_store,
    file_meta,
)
from pacsops.gateway.admission import STORAGE_CLASSES, TRANSFER_SYNTAXES, admission
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.faults import Faults
from pacsops.gateway.spool import LAST_GOOD, RECEIVING

PRIVATE = "1.2.276.0.7230010.99.1"


@pytest.fixture
def host() -> Iterator[ReceivingHost]:
    with ReceivingHost() as host:
        yield host


async def answer_to(host: ReceivingHost, content: Path | bytes, aet: str = "SCANNER") -> str:
    """Status and comment, or success."""
    with StoredInstance(content) as stored:
        async with associate(host.peer, aet, contexts_to_store([stored.instance])) as association:
            try:
                return f"{(await association.store(stored)).status:04X}"
            except OperationFailed as error:
                return f"{error.status:04X} {error.comment}"


async def rejection(peer: Peer, aet: str = "SCANNER") -> tuple[int, int, int] | None:
    """Result, source and reason; None when it was let in."""
    try:
        async with associate(peer, aet, [Context("1.2.840.10008.1.1")]) as association:
            await association.echo()
    except AssociationRejected as error:
        return error.result, error.source, error.reason
    return None


def an_image() -> Dataset:
    study = Study()
    study.add_series("CT")
    return study.datasets[0]


def sent_as(dataset: Dataset, sop_instance_uid: str) -> bytes:
    """A file whose meta information announces an instance, whatever its data set says."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, dataset)
    return file_meta(Instance(str(dataset.SOPClassUID), sop_instance_uid, EXPLICIT)) + buffer.getvalue()


@in_loop
async def test_a_disk_that_is_full_up_to_its_reserve_is_out_of_resources(host: ReceivingHost, tmp_path: Path) -> None:
    host.start(GATEWAY_RESERVE_MIB=1 << 40)
    (path,) = ct_files(tmp_path, 1)

    for _ in range(3):
        assert await answer_to(host, path) == "A700 the disk is full up to its reserve"

    assert not host.files
    assert not host.under_way
    assert host.log.count("instance_refused calling_aet=SCANNER status=A700") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@in_loop
async def test_a_disk_that_is_full_is_out_of_resources_until_it_is_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        with ReceivingHost(spool=disk, reserve_mib=0) as host:
            host.start()
            paths = ct_files(tmp_path, 12, size=(512, 512))

            answers = [await answer_to(host, path) for path in paths]

            kept = answers.count("0000")
            assert 5 <= kept <= 8
            assert set(answers[kept:]) == {"A700 cannot be kept: No space left on device"}
            assert not host.under_way
            assert len(host.files) == kept
            for file in host.files:
                assert (disk / file).read_bytes()[-1000:] == (tmp_path / Path(file).name).read_bytes()[-1000:]

            (disk / host.files[0]).unlink()
            assert await answer_to(host, paths[-1]) == "0000"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@in_loop
async def test_what_does_not_say_what_it_is_cannot_be_understood(host: ReceivingHost, keyword: str) -> None:
    host.start()
    dataset = an_image()
    uid = str(dataset.SOPInstanceUID)
    del dataset[keyword]

    assert await answer_to(host, sent_as(dataset, uid)) == f"C000 the data set has no {keyword}"

    assert not host.files
    assert not host.under_way


@in_loop
async def test_uids_that_are_none_never_become_paths(host: ReceivingHost) -> None:
    host.start()
    for uid in ("../../../tmp/evil", "1.2/3", "1..2", ".1", "1.2.", "", "1" * 65, "1.2\\3"):
        dataset = an_image()
        instance = str(dataset.SOPInstanceUID)
        content = bytearray(sent_as(dataset, instance))
        value = str(dataset.StudyInstanceUID).encode()
        element = b"\x20\0\x0d\0UI"
        old = element + (len(value) + len(value) % 2).to_bytes(2, "little") + value + b"\0" * (len(value) % 2)
        assert old in content
        hostile = uid.encode() + b"\0" * (len(uid) % 2)
        content = content.replace(old, element + len(hostile).to_bytes(2, "little") + hostile)

        assert await answer_to(host, bytes(content)) == "C000 its StudyInstanceUID is no UID"

    assert await answer_to(host, sent_as(an_image(), "1.2..3")) == (
        "A900 its SOPInstanceUID is another one than announced"
    )
    assert not host.files
    assert {path.name for path in host.spool.iterdir()} == {RECEIVING, LAST_GOOD}


@in_loop
async def test_another_instance_than_announced_does_not_match(host: ReceivingHost) -> None:
    host.start()

    answer = await answer_to(host, sent_as(an_image(), "1.2.3"))

    assert answer == "A900 its SOPInstanceUID is another one than announced"


@in_loop
async def test_noise_cannot_be_understood(host: ReceivingHost) -> None:
    host.start()
    instance = Instance("1.2.840.10008.5.1.4.1.1.2", "1.2.3", EXPLICIT)
    for noise in (b"", b"\xff" * 50_000, bytes(range(256)) * 200):
        assert (await answer_to(host, file_meta(instance) + noise)).startswith("C000")
    assert not host.under_way


@in_loop
async def test_only_known_peers_are_let_in_and_only_to_the_gateways_name(host: ReceivingHost) -> None:
    host.configure(
        peers=[
            {"aet": "SCANNER", "address": "127.0.0.0/8"},
            {"aet": "ELSEWHERE", "address": "10.1.2.0/24"},
            {"aet": "ANYWHERE"},
        ]
    )
    host.start()

    assert await rejection(host.peer) is None
    assert await rejection(host.peer, "ANYWHERE") is None
    assert await rejection(host.peer, "ELSEWHERE") == (1, 1, 3)
    assert await rejection(host.peer, "NOPE_AET") == (1, 1, 3)
    assert await rejection(host.peer, "scanner") == (1, 1, 3)
    assert await rejection(Peer("127.0.0.1", host.port, f"{AET}2")) == (1, 1, 7)
    assert "an association was rejected: 'NOPE_AET' from 127.0.0.1, Calling AE title not recognised" in host.log


@in_loop
async def test_a_peer_has_as_many_associations_as_it_may(host: ReceivingHost) -> None:
    host.configure(peers=[{"aet": "SCANNER", "associations": 2}, {"aet": "OTHER"}])
    host.start()
    verification = [Context("1.2.840.10008.1.1")]

    async with associate(host.peer, "SCANNER", verification), associate(host.peer, "SCANNER", verification):
        assert await rejection(host.peer) == (2, 3, 2)
        assert await rejection(host.peer, "OTHER") is None
    assert await rejection(host.peer) is None


@in_loop
async def test_a_changed_file_holds_at_once_and_a_broken_one_never(host: ReceivingHost) -> None:
    host.start()
    assert await rejection(host.peer, "NEW") == (1, 1, 3)

    host.configure(peers=[{"aet": "NEW"}])
    await asyncio.to_thread(host.wait_for_log, "configuration_loaded", 2)
    assert await rejection(host.peer, "NEW") is None
    assert await rejection(host.peer) == (1, 1, 3)

    for number, broken in enumerate(["peers: [", "peers: 7\nnonsense: 1", "\xff"], 1):
        host.write_configuration(broken)
        await asyncio.to_thread(host.wait_for_log, "configuration_rejected", number)
        assert await rejection(host.peer, "NEW") is None
    host.gateway_file.unlink()
    await asyncio.to_thread(host.wait_for_log, "configuration_rejected", 4)
    assert await rejection(host.peer, "NEW") is None


@pytest.mark.parametrize("broken", ["peers: [", "peers: 7", "", None])
@in_loop
async def test_a_gateway_that_restarts_beside_a_broken_file_lets_the_same_peers_in(
    broken: str | None, tmp_path: Path
) -> None:
    with ReceivingHost(receivers=2) as host:
        host.configure(peers=[{"aet": "CT1"}])
        host.start("pacsops.cli.services", "gateway")
        host.wait_for_log("configuration_loaded", 2)
        host.kill()
        eventually(lambda: not accepts(host.port), what="its children ending")
        if broken is None:
            host.gateway_file.unlink()
        else:
            host.write_configuration(broken)

        host.start("pacsops.cli.services", "gateway")

        paths = ct_files(tmp_path, 2)
        to = ("-aec", AET, "127.0.0.1", host.port)
        code, said = await dcmtk("storescu", "-aet", "CT1", *to, *paths)
        assert code == 0, said
        assert sorted(host.digests()) == sorted(uids(paths))
        code, said = await dcmtk("storescu", "-aet", "SCANNER", *to, *paths)
        assert code != 0
        await asyncio.to_thread(host.wait_for_log, "configuration_kept", 2)

        host.configure(peers=[{"aet": "SCANNER"}])
        await asyncio.to_thread(host.wait_for_log, "configuration_loaded", 4)
        code, said = await dcmtk("storescu", "-aet", "SCANNER", *to, *paths)
        assert code == 0, said


@in_loop
async def test_a_gateway_whose_first_file_is_broken_lets_nobody_in(host: ReceivingHost) -> None:
    host.write_configuration("peers: 7")
    host.start()

    assert await rejection(host.peer) == (1, 1, 3)
    assert "configuration_kept" not in host.log


@in_loop
async def test_private_sop_classes_are_taken_where_it_says_so(host: ReceivingHost) -> None:
    host.start()
    dataset = an_image()
    dataset.SOPClassUID = PRIVATE
    content = sent_as(dataset, str(dataset.SOPInstanceUID))
    with pytest.raises(ContextNotAccepted, match="does not know the SOP class"):
        await answer_to(host, content)

    host.configure(peers=[{"aet": "SCANNER"}], private_sop_classes=True)
    await asyncio.to_thread(host.wait_for_log, "configuration_loaded", 2)

    assert await answer_to(host, content) == "0000"
    assert dcmread(host.spool / host.files[0]).SOPClassUID == PRIVATE


def test_every_storage_class_and_transfer_syntax_is_known() -> None:
    taken = admission(AET, Configuration, Faults(Path(), False)).transfer_syntaxes
    assert all(taken(str(context.abstract_syntax)) for context in AllStoragePresentationContexts)
    assert all(UID_dictionary[uid][1] == "SOP Class" for uid in STORAGE_CLASSES)
    assert {"1.2.840.10008.1.2", "1.2.840.10008.1.2.4.52", "1.2.840.10008.1.2.4.203"} <= TRANSFER_SYNTAXES


@in_loop
async def test_what_is_no_storage_is_not_accepted(host: ReceivingHost) -> None:
    host.start()
    for uid in ("1.2.840.10008.1.20.1", "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.2.2.1"):
        async with associate(host.peer, "SCANNER", [Context("1.2.840.10008.1.1"), Context(uid)]) as association:
            assert uid in association.agreed.refused
