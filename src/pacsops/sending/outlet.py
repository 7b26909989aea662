"""What whoever sends knows and the sending does not: where destinations are, and where instances lie."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pacsops.delivery.model import ErrorClass
from pacsops.dimse import Instance, Peer

Content = Path | bytes
"""A DICOM file: its path, or what is in it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination as it is reached now."""

    peer: Peer
    calling_aet: str
    associations: int
    """Open at a time, at most."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance to be sent; `id` is what the delivery knows it by."""

    id: str
    instance: Instance
    open: Callable[[], AbstractAsyncContextManager[Content]] = field(repr=False, compare=False)
    """Raises Gone when it is not there any more, PacsopsError when it cannot be read now."""

    @property
    def context(self) -> tuple[str, str]:
        """The SOP class and the transfer syntax it needs a presentation context of."""
        return self.instance.sop_class_uid, self.instance.transfer_syntax_uid


class Gone(Exception):
    """An instance that was promised is not there any more; says where it was."""


class Outlet(Protocol):
    """Its methods are called from threads and may take their time."""

    source: str
    """Whose deliveries are sent: those of routing_state.source."""
    transport: str | None
    """Only destinations of this destination_health.transport; None: whatever it is."""
    trouble: ErrorClass
    """What it is called when it is we who cannot send."""
    drops_what_is_gone: bool
    """Whether an instance that is gone was deleted on purpose, and the promise is kept without it."""

    def ready(self) -> None:
        """Asked before anything is claimed.

        Raises:
            PacsopsError: nothing can be sent now.
        """

    def target(self, destination: str) -> Target:
        """
        Raises:
            UnknownDestination: there is none of this name.
            DimseError: it cannot be reached as things are.
            PacsopsError: that cannot be said now.
        """

    def items(self, ids: Collection[str]) -> list[Outgoing]:
        """The instances of these ids, in the order to send them in; one that is unknown is missing.

        Raises:
            PacsopsError: that cannot be said now.
        """
