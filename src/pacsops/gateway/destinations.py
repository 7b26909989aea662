"""Destinations of gateway.yml as the sending sees them, and the terms as PostgreSQL holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from pacsops.database import Database, Transaction
from pacsops.delivery import breaker, verification
from pacsops.delivery.model import ErrorClass, Method
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


def set_terms(database: Database, destinations: Collection[Destination]) -> None:
    """As many deliveries at a time as gateway.yml has associations, and asked for what they took as it says.

    What a destination took before it was to be asked is asked about as far as it is in the spool: there
    it stays until the destination is known to have it.
    """
    with database.transaction() as tx:
        for destination in sorted(destinations, key=lambda each: each.name):
            breaker.know(tx, destination.name)
            tx.run(
                "UPDATE destination_health SET max_concurrency = %(n)s"
                " WHERE destination = %(name)s AND max_concurrency <> %(n)s",
                n=destination.associations,
                name=destination.name,
            )
    for destination in destinations:
        with database.transaction() as tx:  # one: a change that is known and not acted upon would not be seen again
            if verification.set_within(tx, destination.name, destination.verify, SOURCE):
                _ask_for_what_is_kept(tx, destination)
    if destinations:  # none: gateway.yml was never fit since the start, and says nothing about those it had
        named = {destination.name for destination in destinations}
        for name in verification.methods(database, SOURCE).keys() - named:
            verification.set_verification(database, name, Method.NONE, SOURCE)


def _ask_for_what_is_kept(tx: Transaction, destination: Destination) -> None:
    if destination.verify is Method.NONE:
        return
    tx.run(
        """
        UPDATE routing_state s SET verify_at = now(), verify_count = 0
         WHERE source = 'gateway' AND destination = %(name)s AND status = 'success'
           AND (verified_at IS NULL OR verified_at < completed_at)
           AND EXISTS (SELECT 1 FROM gateway_instance i WHERE i.study_uid = s.study_id AND i.removed_at IS NULL)
        """,
        name=destination.name,
    )
