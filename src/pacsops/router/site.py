"""What every duty of a running router shares."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pacsops.database import Database
from pacsops.delivery.loop import Wake
from pacsops.errors import OrthancRefused, OrthancUnreachable
from pacsops.orthanc import Modality, Orthanc, all_modalities
from pacsops.routes import RouteTable

_MODALITIES_SECONDS = 5.0


@dataclass
class Site:
    """One site's Orthanc and database, the routes in force, and the bells of the loops."""

    orthanc: Orthanc
    database: Database
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}")
    """Name of this router in claims: host:pid:random."""
    canary_destinations: frozenset[str] = frozenset()
    """Where synthetic studies may be delivered."""
    table: RouteTable | None = None
    """Routes in force for what Orthanc receives; None until a valid routes.yml was seen: studies wait, unsettled."""
    feed_wake: Wake = field(default_factory=Wake)
    dispatch_wake: Wake = field(default_factory=Wake)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _modalities: Mapping[str, Modality] = field(default_factory=dict)
    _modalities_until: float = 0.0

    def take_routes(self, table: RouteTable) -> None:
        """Other routes are in force."""
        self.table = table
        self.feed_wake.ring()

    def names_if_known(self) -> Collection[str] | None:
        """Names of Orthanc's modalities; None while it does not tell."""
        try:
            return self.modalities().keys()
        except (OrthancUnreachable, OrthancRefused):
            return None

    def modalities(self) -> Mapping[str, Modality]:
        """Orthanc's DICOM modalities by name, at most five seconds old."""
        with self._lock:
            if time.monotonic() >= self._modalities_until:
                self._modalities = all_modalities(self.orthanc)
                self._modalities_until = time.monotonic() + _MODALITIES_SECONDS
            return self._modalities
