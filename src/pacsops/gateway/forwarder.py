"""Sends what was promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pacsops.database import Database
from pacsops.gateway.configuration import Configuration
from pacsops.settings import Settings


class Forwarder:
    """Runs in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        configuration: Callable[[], Configuration],
        tell: Callable[[], Mapping[str, Any]] = dict,
    ) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...
