"""DICOM over TLS in both directions, with certificates on both sides."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from tests.support.certificates import Certified, certified
from tests.support.dimse import EXPLICIT, a_sample, dcmtk, in_loop, local, receiving, storescp

from pacsops.dimse import (
    VERIFICATION,
    Context,
    DimseError,
    Terms,
    Timeouts,
    TlsFailed,
    acceptor_tls_context,
    associate,
    request_association,
    tls_context,
)

SHORT = Terms(timeouts=Timeouts(connect=3, associate=3, response=3, close=1))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def own(authority: Path) -> Certified:
    return certified(authority, "edge")


@pytest.fixture(scope="module")
def peer(authority: Path) -> Certified:
    return certified(authority, "peer")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("other"), "stranger")


@in_loop
async def test_a_large_instance_goes_to_storescp_over_tls(tmp_path: Path, own: Certified, peer: Certified) -> None:
    received = tmp_path / "received"
    received.mkdir()
    sample = a_sample(tmp_path, size=(1500, 1500))
    tls = tls_context(own.certificate, own.key, own.authority)
    async with (
        storescp(received, *peer.dcmtk()) as port,
        associate(local(port, tls=tls), "EDGE", [Context(sample.sop_class_uid, [EXPLICIT])]) as association,
    ):
        await association.store(sample.path)

    (file,) = received.iterdir()
    assert file.read_bytes()[-4_000_000:] == sample.path.read_bytes()[-4_000_000:]


@in_loop
async def test_storescu_is_received_over_tls(tmp_path: Path, own: Certified, peer: Certified) -> None:
    sample = a_sample(tmp_path, size=(1500, 1500))
    tls = acceptor_tls_context(own.certificate, own.key, own.authority)
    async with receiving(tls=tls) as (receiver, acceptor):
        code, said = await dcmtk("storescu", *peer.dcmtk(), "127.0.0.1", acceptor.port, sample.path)

    assert code == 0, said
    assert [one.sha256 for one in receiver.kept] == [sample.sha256]


@in_loop
async def test_instances_cross_between_our_own_sides_over_tls(
    tmp_path: Path, own: Certified, peer: Certified
) -> None:
    samples = [a_sample(tmp_path, size=(700, 701)) for _ in range(3)]
    async with receiving(tls=acceptor_tls_context(own.certificate, own.key, own.authority)) as (receiver, acceptor):
        tls = tls_context(peer.certificate, peer.key, peer.authority)
        contexts = [Context(samples[0].sop_class_uid, [EXPLICIT])]
        async with associate(local(acceptor.port, tls=tls), "EDGE", contexts) as association:
            for sample in samples:
                await association.store(sample.path)

    assert [one.sha256 for one in receiver.kept] == [one.sha256 for one in samples]


@in_loop
async def test_who_has_no_certificate_of_ours_gets_nowhere(
    tmp_path: Path, own: Certified, stranger: Certified
) -> None:
    sample = a_sample(tmp_path)
    tls = acceptor_tls_context(own.certificate, own.key, own.authority)
    async with receiving(tls=tls) as (receiver, acceptor):
        to = ("-to", 3, "127.0.0.1", acceptor.port, sample.path)
        assert (await dcmtk("storescu", *to))[0] != 0, "in the clear"
        assert (await dcmtk("storescu", "+tla", "+cf", own.authority, *to))[0] != 0, "without a certificate"
        assert (await dcmtk("storescu", *stranger.dcmtk(), *to))[0] != 0, "with another authority's"
        believing = tls_context(stranger.certificate, stranger.key, own.authority)
        with pytest.raises(DimseError):
            await request_association(local(acceptor.port, tls=believing), "EDGE", [Context(VERIFICATION)], SHORT)

    assert receiver.begun == 0


@in_loop
async def test_a_peer_that_does_not_believe_us_is_named(
    tmp_path: Path, peer: Certified, own: Certified, stranger: Certified
) -> None:
    tls = tls_context(stranger.certificate, stranger.key, own.authority)
    async with storescp(tmp_path, *peer.dcmtk()) as port:
        with pytest.raises(DimseError) as refused:
            await request_association(local(port, tls=tls), "EDGE", [Context(VERIFICATION)], SHORT)

    # Whether its alert arrives before the connection is reset is chance.
    assert "UNKNOWN_CA" in str(refused.value) or "a certificate they do not believe" in (refused.value.hint or "")


@in_loop
async def test_a_peer_whose_certificate_is_not_believed_is_named(
    tmp_path: Path, own: Certified, stranger: Certified
) -> None:
    tls = tls_context(own.certificate, own.key, own.authority)
    async with storescp(tmp_path, *stranger.dcmtk()) as port:
        with pytest.raises(TlsFailed, match="its certificate is not believed"):
            await request_association(local(port, tls=tls), "EDGE", [Context(VERIFICATION)], SHORT)


@in_loop
async def test_a_peer_without_tls_is_named(tmp_path: Path, own: Certified) -> None:
    tls = tls_context(own.certificate, own.key, own.authority)
    async with storescp(tmp_path) as port:
        with pytest.raises(TlsFailed, match="no TLS with it"):
            await request_association(local(port, tls=tls), "EDGE", [Context(VERIFICATION)], SHORT)


@in_loop
async def test_connections_that_never_begin_tls_are_limited_and_let_go(own: Certified) -> None:
    tls = acceptor_tls_context(own.certificate, own.key, own.authority)
    async with receiving(tls=tls, maximum_associations=1, artim=1) as (_, acceptor):
        silent = [await asyncio.open_connection("127.0.0.1", acceptor.port) for _ in range(3)]
        async with asyncio.timeout(10):
            assert [await reader.read() for reader, _ in silent] == [b""] * 3
        mine = tls_context(own.certificate, own.key, own.authority)
        async with associate(local(acceptor.port, tls=mine), "EDGE", [Context(VERIFICATION)], SHORT) as association:
            await association.echo()
        for _, writer in silent:
            writer.close()


@in_loop
async def test_who_only_looks_whether_a_port_for_tls_is_open_is_worth_no_line(
    own: Certified, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pacsops.dimse")
    tls = acceptor_tls_context(own.certificate, own.key, own.authority)
    async with receiving(tls=tls) as (_, acceptor):
        for word in (b"", b"GET / HTTP/1.0\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
            writer.write(word)
            writer.write_eof()
            await asyncio.wait([asyncio.create_task(reader.read())])
            writer.close()

    (line,) = caplog.messages
    assert line.startswith("a connection from 127.0.0.1 was dropped: no TLS with it: ")
