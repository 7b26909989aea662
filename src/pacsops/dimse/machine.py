"""The upper layer's state machine: PS3.8 table 9-10, as a table.

States, events and actions keep the standard's numbers, so that each line can be held against it.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from pacsops.dimse.pdu import PduType


class State(IntEnum):
    """PS3.8 tables 9-1 to 9-5."""

    IDLE = 1
    AWAIT_ASSOCIATE_RQ = 2
    AWAIT_LOCAL_ASSOCIATE_RESPONSE = 3
    AWAIT_TRANSPORT = 4
    AWAIT_ASSOCIATE_ANSWER = 5
    ESTABLISHED = 6
    AWAIT_RELEASE_RP = 7
    AWAIT_LOCAL_RELEASE_RESPONSE = 8
    COLLISION_REQUESTOR_LOCAL = 9
    COLLISION_ACCEPTOR_RP = 10
    COLLISION_REQUESTOR_RP = 11
    COLLISION_ACCEPTOR_LOCAL = 12
    AWAIT_CLOSE = 13


class Event(IntEnum):
    """The rows of PS3.8 table 9-10."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMED = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    TRANSPORT_INDICATION = 5
    ASSOCIATE_RQ = 6
    ACCEPT_RESPONSE = 7
    REJECT_RESPONSE = 8
    P_DATA_REQUEST = 9
    P_DATA_TF = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Action(Enum):
    """PS3.8 tables 9-6 to 9-9."""

    AE_1, AE_2, AE_3, AE_4, AE_5, AE_6, AE_7, AE_8 = (f"AE-{number}" for number in range(1, 9))
    DT_1, DT_2 = "DT-1", "DT-2"
    AR_1, AR_2, AR_3, AR_4, AR_5, AR_6, AR_7, AR_8, AR_9, AR_10 = (f"AR-{number}" for number in range(1, 11))
    AA_1, AA_2, AA_3, AA_4, AA_5, AA_6, AA_7, AA_8 = (f"AA-{number}" for number in range(1, 9))


EVENT_OF = {
    PduType.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    PduType.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    PduType.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    PduType.P_DATA_TF: Event.P_DATA_TF,
    PduType.RELEASE_RQ: Event.RELEASE_RQ,
    PduType.RELEASE_RP: Event.RELEASE_RP,
    PduType.ABORT: Event.ABORT,
}

_A = Action
# A row is an event; its cells are "states: action". 6-12 are the states of an association that is up or going down.
_UP = "6 7 8 9 10 11 12"
_ROWS: dict[int, dict[str, Action]] = {
    1: {"1": _A.AE_1},
    2: {"4": _A.AE_2},
    3: {"2": _A.AA_1, "5": _A.AE_3, "13": _A.AA_6, f"3 {_UP}": _A.AA_8},
    4: {"2": _A.AA_1, "5": _A.AE_4, "13": _A.AA_6, f"3 {_UP}": _A.AA_8},
    5: {"1": _A.AE_5},
    6: {"2": _A.AE_6, "13": _A.AA_7, f"3 5 {_UP}": _A.AA_8},
    7: {"3": _A.AE_7},
    8: {"3": _A.AE_8},
    9: {"6": _A.DT_1, "8": _A.AR_7},
    10: {"2": _A.AA_1, "6": _A.DT_2, "7": _A.AR_6, "13": _A.AA_6, "3 5 8 9 10 11 12": _A.AA_8},
    11: {"6": _A.AR_1},
    12: {"2": _A.AA_1, "6": _A.AR_2, "7": _A.AR_8, "13": _A.AA_6, "3 5 8 9 10 11 12": _A.AA_8},
    13: {"2": _A.AA_1, "7 11": _A.AR_3, "10": _A.AR_10, "13": _A.AA_6, "3 5 6 8 9 12": _A.AA_8},
    14: {"8 12": _A.AR_4, "9": _A.AR_9},
    15: {f"3 5 {_UP}": _A.AA_1, "4": _A.AA_2},
    16: {"2 13": _A.AA_2, f"3 5 {_UP}": _A.AA_3},
    17: {"2": _A.AA_5, f"3 4 5 {_UP}": _A.AA_4, "13": _A.AR_5},
    18: {"2 13": _A.AA_2},
    19: {"2": _A.AA_1, "13": _A.AA_7, f"3 5 {_UP}": _A.AA_8},
}

TABLE: dict[tuple[Event, State], Action] = {
    (Event(event), State(int(state))): action
    for event, cells in _ROWS.items()
    for states, action in cells.items()
    for state in states.split()
}

_NEXT: dict[Action, State] = {
    _A.AE_1: State.AWAIT_TRANSPORT,
    _A.AE_2: State.AWAIT_ASSOCIATE_ANSWER,
    _A.AE_3: State.ESTABLISHED,
    _A.AE_4: State.IDLE,
    _A.AE_5: State.AWAIT_ASSOCIATE_RQ,
    _A.AE_6: State.AWAIT_LOCAL_ASSOCIATE_RESPONSE,
    _A.AE_7: State.ESTABLISHED,
    _A.AE_8: State.AWAIT_CLOSE,
    _A.DT_1: State.ESTABLISHED,
    _A.DT_2: State.ESTABLISHED,
    _A.AR_1: State.AWAIT_RELEASE_RP,
    _A.AR_2: State.AWAIT_LOCAL_RELEASE_RESPONSE,
    _A.AR_3: State.IDLE,
    _A.AR_4: State.AWAIT_CLOSE,
    _A.AR_5: State.IDLE,
    _A.AR_6: State.AWAIT_RELEASE_RP,
    _A.AR_7: State.AWAIT_LOCAL_RELEASE_RESPONSE,
    _A.AR_9: State.COLLISION_REQUESTOR_RP,
    _A.AR_10: State.COLLISION_ACCEPTOR_LOCAL,
    _A.AA_1: State.AWAIT_CLOSE,
    _A.AA_2: State.IDLE,
    _A.AA_3: State.IDLE,
    _A.AA_4: State.IDLE,
    _A.AA_5: State.IDLE,
    _A.AA_6: State.AWAIT_CLOSE,
    _A.AA_7: State.AWAIT_CLOSE,
    _A.AA_8: State.AWAIT_CLOSE,
}


def transition(state: State, event: Event, *, requestor: bool) -> tuple[Action, State] | None:
    """What to do at `event`, and the state after it; None when the event cannot happen in that state.

    AE-6 leads to state 3 here; a request the upper layer itself refuses goes on from there by event 8, which ends
    in the same state 13 with the same A-ASSOCIATE-RJ.
    """
    action = TABLE.get((event, state))
    if action is None:
        return None
    if action is Action.AR_8:
        return action, State.COLLISION_REQUESTOR_LOCAL if requestor else State.COLLISION_ACCEPTOR_RP
    return action, _NEXT[action]
