"""A receiver: one process of the gateway that listens, beside others on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from typing import Final

from pacsops.dimse import Acceptor, Handlers
from pacsops.errors import SettingsError
from pacsops.gateway.admission import admission
from pacsops.gateway.certificates import ReceiverCertificates
from pacsops.gateway.faults import Faults
from pacsops.gateway.receiver import Receiver
from pacsops.gateway.spool import RECEIVING, clear_leftovers
from pacsops.gateway.tally import Tally
from pacsops.gateway.watch import ConfigurationWatch
from pacsops.observe.logs import EventLog
from pacsops.settings import Settings

_LOG = EventLog("gateway")
_LOOK_SECONDS: Final = 1.0
_TELL_EVERY: Final = 10
"""Looks at gateway.yml and certificates between two lines about what was received."""


def run(settings: Settings) -> None:
    """Receive until SIGTERM or SIGINT. What is under way then is aborted: its sender has no answer, and sends again.

    Raises:
        SettingsError: the spool is not there or not ours, the address is taken, or the certificate is unfit.
    """
    _allow_open_files()
    asyncio.run(_receive(settings))


async def _receive(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    faults = Faults(settings.gateway_spool, settings.gateway_drills)
    watch = ConfigurationWatch(settings.gateway_file, settings.gateway_spool)
    certificates = ReceiverCertificates(settings) if settings.gateway_tls_port else None
    tally = Tally()
    receiver = _receiver(settings, faults, tally)
    try:
        watch.look()
        handlers, terms = Handlers(store=receiver.store), admission(settings.gateway_aet, watch, faults)
        async with Acceptor(handlers, terms) as acceptor:
            await _listen(acceptor, settings, certificates)
            _LOG.info("receiver_started", worker=os.getpid(), path=settings.gateway_spool)
            await _watched(watch, certificates, tally, stopping)
    finally:
        receiver.close()
        tally.tell()
    _LOG.info("receiver_stopped", worker=os.getpid())


async def _listen(acceptor: Acceptor, settings: Settings, certificates: ReceiverCertificates | None) -> None:
    """On the plain port, and on the one for TLS."""
    ports: list[tuple[int, ReceiverCertificates | None]] = [(settings.gateway_port, None)]
    if certificates is not None:
        ports.append((settings.gateway_tls_port, certificates))
    for port, tls in ports:
        try:
            await acceptor.listen(settings.gateway_listen, port, tls=tls, reuse_port=True)
        except OSError as error:
            raise SettingsError(
                f"cannot receive on {settings.gateway_listen}, port {port}: {error.strerror or error}",
                hint="GATEWAY_LISTEN, GATEWAY_PORT and GATEWAY_TLS_PORT in .env say where; `ss -ltnp` shows who is"
                " there",
            ) from error


async def _watched(
    watch: ConfigurationWatch, certificates: ReceiverCertificates | None, tally: Tally, stopping: asyncio.Event
) -> None:
    looks = 0
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK_SECONDS)
        await asyncio.to_thread(watch.look)  # keeping a changed one waits for the disk, images must not
        if certificates is not None:
            certificates.look()
        looks += 1
        if looks % _TELL_EVERY == 0:
            tally.tell()


def _receiver(settings: Settings, faults: Faults, tally: Tally) -> Receiver:
    spool = settings.gateway_spool
    try:
        # The spool itself is the deployment's to make: where it is missing, a disk may not be mounted.
        (spool / RECEIVING).mkdir(mode=0o750, exist_ok=True)
        removed = clear_leftovers(spool)
        receiver = Receiver(spool, settings.gateway_reserve, faults, tally)
    except OSError as error:
        raise SettingsError(
            f"cannot keep images in {spool}: {error.strerror}",
            hint="GATEWAY_SPOOL in .env names it; is its disk mounted, and does it belong to the gateway's account?",
        ) from error
    if removed:
        _LOG.info("leftovers_removed", instances=removed)
    return receiver


def _allow_open_files() -> None:
    """A connection and a file for each instance under way: more than the 1024 a process has unless it asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
