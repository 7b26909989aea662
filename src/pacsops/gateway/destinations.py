"""Destinations of gateway.yml as the sending sees them, and their limits as PostgreSQL holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from pacsops.database import Database
from pacsops.delivery import breaker
from pacsops.delivery.model import ErrorClass
from pacsops.dimse import Peer
from pacsops.errors import UnknownDestination
from pacsops.gateway.certificates import for_destinations
from pacsops.gateway.configuration import Configuration, Destination
from pacsops.gateway.stored import outgoing
from pacsops.sending.outlet import Outgoing, Target
from pacsops.settings import Settings

SOURCE: Final = "gateway"


class SpoolOutlet:
    """The gateway's `Outlet`: instances of its spool, destinations of the gateway.yml in force."""

    source = SOURCE
    transport: str | None = None
    drops_what_is_gone = False
    trouble = ErrorClass.GATEWAY

    def __init__(self, settings: Settings, database: Database, configuration: Callable[[], Configuration]) -> None:
        self._settings = settings
        self._database = database
        self._configuration = configuration
        self._tls = for_destinations(settings)

    def ready(self) -> None:
        """The spool is on this host: always."""

    def target(self, destination: str) -> Target:
        found = self._configuration().destinations.get(destination)
        if found is None:
            raise UnknownDestination(f"gateway.yml has no destination {destination}")
        tls = self._tls.context() if found.tls else None
        peer = Peer(found.host, found.port, found.aet, tls)
        return Target(peer, self._settings.gateway_aet, found.associations)

    def items(self, ids: Collection[str]) -> list[Outgoing]:
        return outgoing(self._database, self._settings.gateway_spool, ids)


def set_limits(database: Database, destinations: Collection[Destination]) -> None:
    """As many deliveries at a time as gateway.yml has associations."""
    with database.transaction() as tx:
        for destination in sorted(destinations, key=lambda each: each.name):
            breaker.know(tx, destination.name)
            tx.run(
                "UPDATE destination_health SET max_concurrency = %(n)s"
                " WHERE destination = %(name)s AND max_concurrency <> %(n)s",
                n=destination.associations,
                name=destination.name,
            )
