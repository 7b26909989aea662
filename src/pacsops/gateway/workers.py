"""Which member of a pool gets a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pacsops.database import Transaction
from pacsops.gateway.configuration import Configuration, Pool
from pacsops.routes import Selection


def assign(
    tx: Transaction, configuration: Configuration, study_uid: str, selections: Sequence[Selection]
) -> list[Selection]:
    """Selections for destinations as they are, those for a pool for one of its members.

    A study that was promised to a member stays with it; another goes to the member that waits longest for one.
    """
    return [
        replace(chosen, destination=_member(tx, pool, study_uid, chosen.route.name))
        if (pool := configuration.pools.get(chosen.destination)) is not None
        else chosen
        for chosen in selections
    ]


def original_of(
    tx: Transaction, configuration: Configuration, sender_aet: str | None, tags: Mapping[str, str]
) -> str | None:
    """The study an AI result belongs to; None: this is no result."""
    return None


def _member(tx: Transaction, pool: Pool, study_uid: str, route: str) -> str:
    row = tx.one(
        """
        SELECT member FROM unnest(%(members)s::text[]) WITH ORDINALITY AS m (member, place)
         ORDER BY NOT EXISTS (SELECT 1 FROM routing_state s
                               WHERE s.source = 'gateway' AND s.study_id = %(study)s AND s.route_name = %(route)s
                                 AND s.destination = m.member),
                  (SELECT max(s.id) FROM routing_state s
                    WHERE s.source = 'gateway' AND s.route_name = %(route)s AND s.destination = m.member) NULLS FIRST,
                  place
         LIMIT 1
        """,
        members=list(pool.members),
        study=study_uid,
        route=route,
    )
    return str(row["member"])
