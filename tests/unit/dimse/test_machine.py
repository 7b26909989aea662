"""The state machine's table, held against pynetdicom's."""

from __future__ import annotations

from pynetdicom import fsm

from pacsops.dimse.machine import TABLE, Action, Event, State, transition

# Its names are `Evt1`, `Sta1`, `AE-1`.
THEIRS = {
    (Event(int(event.removeprefix("Evt"))), State(int(state.removeprefix("Sta")))): Action(action)
    for (event, state), action in fsm.TRANSITION_TABLE.items()
}


def test_the_table_is_that_of_the_standard() -> None:
    assert {key: action.value for key, action in TABLE.items()} == {
        key: action.value for key, action in THEIRS.items()
    }


def test_a_release_collision_depends_on_who_asked_for_the_association() -> None:
    at = State.AWAIT_RELEASE_RP, Event.RELEASE_RQ

    assert transition(*at, requestor=True) == (Action.AR_8, State.COLLISION_REQUESTOR_LOCAL)
    assert transition(*at, requestor=False) == (Action.AR_8, State.COLLISION_ACCEPTOR_RP)


def test_every_action_leads_where_pynetdicoms_does() -> None:
    for (event, state), action in TABLE.items():
        if action in (Action.AE_6, Action.AR_8):
            continue  # two ways out each
        found = transition(state, event, requestor=True)
        assert found is not None
        assert fsm.ACTIONS[action.value][2] == f"Sta{found[1].value}", action


def test_what_cannot_happen_has_no_transition() -> None:
    assert transition(State.IDLE, Event.P_DATA_REQUEST, requestor=True) is None
    assert transition(State.AWAIT_CLOSE, Event.ABORT_REQUEST, requestor=False) is None
