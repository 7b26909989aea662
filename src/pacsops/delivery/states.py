"""The table of states: which transition may leave which state, and where it leads.

Every statement that changes a status takes its `from_states` from here, so a transition the table does not know
touches no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pacsops.delivery.model import Status

_QUIET = frozenset({Status.PENDING, Status.FAILED})
_IN_FLIGHT = frozenset({Status.SENDING, Status.SENT})


@dataclass(frozen=True, slots=True)
class Transition:
    """`fenced`: the writer must hold the claim."""

    leaves: frozenset[Status]
    enters: frozenset[Status]
    fenced: bool = False

    @property
    def from_states(self) -> list[str]:
        return sorted(self.leaves)


CLAIM = Transition(_QUIET, frozenset({Status.SENDING}))
SUBMIT = Transition(frozenset({Status.SENDING}), frozenset({Status.SENT}), fenced=True)
FINISH = Transition(_IN_FLIGHT, frozenset({Status.SUCCESS, Status.PENDING}), fenced=True)
"""→ pending when instances came while the others were on their way."""
FAIL = Transition(_IN_FLIGHT, frozenset({Status.FAILED}), fenced=True)
STICK = Transition(_IN_FLIGHT, frozenset({Status.STUCK}), fenced=True)
RELEASE = Transition(_IN_FLIGHT, frozenset({Status.PENDING}), fenced=True)
"""The attempt came to nothing through no fault of the destination; it does not count."""
GROW = Transition(frozenset({Status.SUCCESS}), frozenset({Status.PENDING}))
SUPERSEDE = Transition(frozenset({Status.PENDING}), frozenset({Status.CANCELLED}))
RESTORE = Transition(frozenset({Status.CANCELLED}), frozenset({Status.PENDING}))
"""What was superseded is the largest image again."""
RETURN = Transition(frozenset({Status.STUCK}), frozenset({Status.PENDING}))
"""Deleted images were received again."""
REVIVE = Transition(frozenset({Status.STUCK}), frozenset({Status.PENDING}))
LACK = Transition(frozenset({Status.SUCCESS}), frozenset({Status.PENDING}))
"""The destination does not have what it took."""
LOSE = Transition(frozenset({Status.SUCCESS}), frozenset({Status.STUCK}))
"""The same, too often."""
RETRY = Transition(frozenset({Status.FAILED, Status.STUCK}), frozenset({Status.PENDING}))
FORCED_RETRY = Transition(
    RETRY.leaves | {Status.PENDING, Status.SKIPPED, Status.CANCELLED, Status.SUCCESS}, frozenset({Status.PENDING})
)
SKIP = Transition(_QUIET | _IN_FLIGHT | {Status.STUCK}, frozenset({Status.SKIPPED}))
CANCEL = Transition(_QUIET | _IN_FLIGHT | {Status.STUCK}, frozenset({Status.CANCELLED}))

TRANSITIONS: Mapping[str, Transition] = {
    "claim": CLAIM,
    "submit": SUBMIT,
    "finish": FINISH,
    "fail": FAIL,
    "stick": STICK,
    "release": RELEASE,
    "grow": GROW,
    "supersede": SUPERSEDE,
    "restore": RESTORE,
    "return": RETURN,
    "revive": REVIVE,
    "lack": LACK,
    "lose": LOSE,
    "retry": RETRY,
    "forced_retry": FORCED_RETRY,
    "skip": SKIP,
    "cancel": CANCEL,
}


def allowed(before: Status, after: Status) -> bool:
    """Whether any transition leads from one state to the other."""
    return any(before in transition.leaves and after in transition.enters for transition in TRANSITIONS.values())
