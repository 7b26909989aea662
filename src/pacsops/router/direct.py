"""Deliveries that the router sends itself: it reads instances over Orthanc's REST API and stores them (C-STORE).

For destinations with `transport: direct`. What arrived is written down instance by instance, so a router that is
killed goes on where it was; Orthanc's own jobs begin anew.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pacsops.delivery.model import ErrorClass
from pacsops.dimse import Instance, Peer
from pacsops.errors import NotFoundInOrthanc, OrthancRefused, OrthancUnreachable, PacsopsError, UnknownDestination
from pacsops.orthanc import last_change
from pacsops.router.site import Site
from pacsops.sending.certificates import Certificates
from pacsops.sending.outlet import Content, Gone, Outgoing, Target
from pacsops.settings import Settings

ASSOCIATIONS = 2
"""Kept open at a time, besides those in use."""
_WHOLE_STUDY_SECONDS = 30.0
_IN_MEMORY = 16 << 20
"""Bytes; a larger instance is kept in a file meanwhile."""


class OrthancOutlet:
    """The router's `Outlet`: what Orthanc holds, to Orthanc's modalities."""

    source = "orthanc"
    transport: str | None = "direct"
    trouble = ErrorClass.ORTHANC
    drops_what_is_gone = True

    def __init__(self, site: Site, settings: Settings) -> None:
        self._site = site
        self._orthanc_aet = settings.orthanc_aet
        self._tls = Certificates(
            "the router",
            settings.router_certificate,
            settings.router_key,
            settings.router_trusted,
            without="only Orthanc has a certificate for it: give it `transport: orthanc`, or the router one"
            " (ROUTER_CERTIFICATE)",
        )
        self._orthanc_was_away = False

    def ready(self) -> None:
        """Claims made while Orthanc is away would only be given back."""
        if self._orthanc_was_away:
            last_change(self._site.orthanc)
            self._orthanc_was_away = False

    def target(self, destination: str) -> Target:
        modality = self._site.modalities().get(destination)
        if modality is None:
            raise UnknownDestination(f"Orthanc has no destination {destination}")
        tls = self._tls.context() if modality.use_dicom_tls else None
        peer = Peer(modality.host, modality.port, modality.aet, tls)
        return Target(peer, modality.local_aet or self._orthanc_aet, ASSOCIATIONS)

    def items(self, ids: Collection[str]) -> list[Outgoing]:
        """In the order of series and image numbers, as far as they have any."""
        with self._noticing():
            found = self._site.orthanc.bulk_content(list(ids), "Instance", timeout=_WHOLE_STUDY_SECONDS)
        return [self._outgoing(each) for each in sorted(found, key=_order)]

    def _outgoing(self, found: dict[str, Any]) -> Outgoing:
        metadata = found.get("Metadata", {})
        instance = Instance(
            str(metadata.get("SopClassUid", "")),
            str(found["MainDicomTags"].get("SOPInstanceUID", "")),
            str(metadata.get("TransferSyntax", "")),
        )
        return Outgoing(found["ID"], instance, self._opener(found["ID"]))

    def _opener(self, instance_id: str) -> Callable[[], AbstractAsyncContextManager[Content]]:
        @asynccontextmanager
        async def open_() -> AsyncIterator[Content]:
            with tempfile.TemporaryDirectory(prefix="pacsops-direct-") as folder:
                yield await asyncio.to_thread(self._read, instance_id, Path(folder) / "instance.dcm")

        return open_

    def _read(self, instance_id: str, file: Path) -> Content:
        try:
            with self._noticing():
                return self._site.orthanc.instance_file(instance_id, file, in_memory=_IN_MEMORY)
        except NotFoundInOrthanc:
            raise Gone("an instance is no longer in Orthanc") from None
        except OSError as error:
            raise PacsopsError(f"cannot keep an instance in {file.parent.parent}: {error.strerror}") from error

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except NotFoundInOrthanc:
            raise
        except (OrthancUnreachable, OrthancRefused):
            self._orthanc_was_away = True
            raise


def _order(found: dict[str, Any]) -> tuple[str, int, str]:
    number = str(found["MainDicomTags"].get("InstanceNumber", "")).strip()
    return found.get("ParentSeries", ""), int(number) if number.isascii() and number.isdigit() else 0, found["ID"]
