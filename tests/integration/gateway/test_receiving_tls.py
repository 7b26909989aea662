"""C-STORE to the gateway over TLS: who has to show a certificate, and what happens when ours is renewed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Certified, certified
from tests.support.dimse import dcmtk, in_loop
from tests.support.network import free_port
from tests.support.receiver import AET, ReceivingHost, ct_files, data_set_of

from pacsops.dimse import (
    VERIFICATION,
    AssociationRejected,
    Context,
    DimseError,
    Peer,
    StoredInstance,
    Terms,
    Timeouts,
    associate,
    contexts_to_store,
    request_association,
    tls_context,
)

SHORT = Terms(timeouts=Timeouts(connect=5, associate=5, response=5, close=1))
ECHO = [Context(VERIFICATION)]


class SecureHost(ReceivingHost):
    """One that shows a certificate on a second port."""

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.authority = self.folder / "authority"
        self.authority.mkdir()
        self.own = certified(self.authority, "gateway")
        self.scanner = certified(self.authority, "scanner")

    def start(self, *program: str, **others: object) -> None:
        own = self.own
        values = {"GATEWAY_CERTIFICATE": own.certificate, "GATEWAY_KEY": own.key, "GATEWAY_TRUSTED": own.authority}
        super().start(*program, **{"GATEWAY_TLS_PORT": self.tls_port, **values, **others})
        if not self._ended():
            self.wait_for_log("receiver_started")

    def secure_peer(self, client: Certified | None = None) -> Peer:
        client = client or self.scanner
        return Peer("127.0.0.1", self.tls_port, AET, tls_context(client.certificate, client.key, self.own.authority))

    def shown(self) -> str:
        """The certificate it shows, in PEM form."""
        return ssl.get_server_certificate(("127.0.0.1", self.tls_port))


@pytest.fixture
def host() -> Iterator[SecureHost]:
    with SecureHost() as host:
        yield host


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("other"), "stranger")


def in_place_of(path: Path, other: Path) -> None:
    """As Ansible puts a file in place."""
    shutil.copy(other, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


async def storescu(host: SecureHost, path: Path, *tls: str | Path) -> int:
    to = ("-to", 5, "-aet", "SCANNER", "-aec", AET, "127.0.0.1", host.tls_port, path)
    return (await dcmtk("storescu", *tls, *to))[0]


@in_loop
async def test_storescu_with_a_certificate_is_received(host: SecureHost, tmp_path: Path) -> None:
    host.start()
    secure, plain = ct_files(tmp_path, 2, size=(300, 200))

    assert await storescu(host, secure, *host.scanner.dcmtk()) == 0
    code, said = await dcmtk("storescu", "-aet", "SCANNER", "-aec", AET, "127.0.0.1", host.port, plain)

    assert code == 0, said
    assert set(host.digests()) == {secure.stem, plain.stem}


@in_loop
async def test_who_shows_no_certificate_of_ours_gets_nowhere(
    host: SecureHost, tmp_path: Path, stranger: Certified
) -> None:
    host.start()
    (path,) = ct_files(tmp_path, 1)

    assert await storescu(host, path, "+tla", "+cf", host.own.authority) != 0, "without a certificate"
    host.wait_for_log("PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert await storescu(host, path, *stranger.dcmtk()[:3], "+cf", host.own.authority) != 0, "another authority's"
    host.wait_for_log("its certificate is not believed")
    assert await storescu(host, path) != 0, "in the clear"
    host.wait_for_log("WRONG_VERSION_NUMBER")
    with pytest.raises(DimseError):
        await request_association(host.secure_peer(stranger), "SCANNER", ECHO, SHORT)

    host.wait_for_log("a connection from 127.0.0.1 was dropped", 4)
    assert not host.files
    assert await storescu(host, path, *host.scanner.dcmtk()) == 0


@in_loop
async def test_where_nobody_is_asked_storescu_needs_no_certificate(host: SecureHost, tmp_path: Path) -> None:
    host.start(GATEWAY_TLS_CLIENTS="none")
    (path,) = ct_files(tmp_path, 1)

    assert await storescu(host, path, "+tla", "+cf", host.own.authority) == 0
    assert set(host.digests()) == {path.stem}


@in_loop
async def test_our_own_sender_is_received_byte_by_byte(host: SecureHost, tmp_path: Path) -> None:
    host.start()
    paths = ct_files(tmp_path, 3, size=(900, 700))
    with StoredInstance(paths[0]) as stored:
        contexts = contexts_to_store([stored.instance])

    async with associate(host.secure_peer(), "SCANNER", contexts, Terms(window=16)) as association:
        await asyncio.gather(*(association.store(path) for path in paths))

    assert host.digests() == {uid: {digest} for uid, digest in map(data_set_of, paths)}


@in_loop
async def test_gateway_yml_says_who_may_send_over_tls_too(host: SecureHost) -> None:
    host.configure(peers=[{"aet": "SCANNER", "associations": 1}])
    host.start()

    with pytest.raises(AssociationRejected, match="Calling AE title"):
        await request_association(host.secure_peer(), "OTHER", ECHO, SHORT)
    async with associate(host.peer, "SCANNER", ECHO):
        with pytest.raises(AssociationRejected, match="limit"):
            await request_association(host.secure_peer(), "SCANNER", ECHO, SHORT)
    async with associate(host.secure_peer(), "SCANNER", ECHO) as association:
        await association.echo()


@in_loop
async def test_a_renewed_certificate_is_shown_without_a_restart(host: SecureHost) -> None:
    host.start(GATEWAY_TLS_CLIENTS="none")
    before, renewed = host.shown(), certified(host.authority, "renewed")

    async with associate(host.secure_peer(), "SCANNER", ECHO) as association:
        in_place_of(host.own.certificate, renewed.certificate)
        host.wait_for_log("certificate_rejected")  # its key is not there yet
        assert await asyncio.to_thread(host.shown) == before
        in_place_of(host.own.key, renewed.key)
        host.wait_for_log("certificate_loaded")

        assert ssl.PEM_cert_to_DER_cert(await asyncio.to_thread(host.shown)) == ssl.PEM_cert_to_DER_cert(
            renewed.certificate.read_text()
        )
        await association.echo()
    assert host.log.count("certificate_rejected") == 1


@in_loop
async def test_an_authority_that_is_believed_no_more_is_so_without_a_restart(
    host: SecureHost, stranger: Certified
) -> None:
    trusted = host.folder / "trusted.crt"
    trusted.write_text(host.own.authority.read_text())
    host.start(GATEWAY_TRUSTED=trusted)
    async with associate(host.secure_peer(), "SCANNER", ECHO) as association:
        await association.echo()

    trusted.write_text(stranger.authority.read_text())
    host.wait_for_log("certificate_loaded")

    with pytest.raises(DimseError):
        await request_association(host.secure_peer(), "SCANNER", ECHO, SHORT)
    async with associate(host.secure_peer(stranger), "SCANNER", ECHO) as association:
        await association.echo()


@pytest.mark.parametrize("program", [(), ("pacsops.cli.services", "gateway")], ids=["receiver", "gateway"])
@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        ({"GATEWAY_CERTIFICATE": "/missing/gateway.crt"}, "/missing/gateway.crt: No such file or directory"),
        ({"GATEWAY_KEY": __file__}, f"{__file__}: unfit (not in PEM form)"),
        ({"GATEWAY_TRUSTED": __file__}, f"{__file__}: unfit (NO_CERTIFICATE_OR_CRL_FOUND)"),
        ({"GATEWAY_CERTIFICATE": ""}, "there is no certificate to show"),
        ({"GATEWAY_TRUSTED": "", "GATEWAY_TLS_CLIENTS": "required"}, "nobody's certificate is believed"),
        ({"GATEWAY_TLS_CLIENTS": "optional"}, "is 'optional', not one of required, none"),
    ],
    ids=["missing", "key", "trusted", "none", "nobody", "clients"],
)
def test_certificates_that_cannot_be_used_stop_the_start(
    host: SecureHost, unfit: dict[str, str], said: str, program: tuple[str, ...]
) -> None:
    host.start(*program, **unfit)

    assert host.wait_for_process() == 2
    assert said in host.log
    assert "part_died" not in host.log


def test_a_port_for_tls_that_is_taken_is_named(host: SecureHost) -> None:
    with socket.create_server(("127.0.0.1", host.tls_port)):
        host.start()
        assert host.wait_for_process() == 2
    assert f"cannot receive on 127.0.0.1, port {host.tls_port}: " in host.log
