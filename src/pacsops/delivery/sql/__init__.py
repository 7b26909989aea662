"""The statements that change deliveries, each a file a DBA can read without Python."""

from importlib import resources


def _read(name: str) -> str:
    return (resources.files(__name__) / f"{name}.sql").read_text("utf-8")


PLAN = _read("plan")
PLANNED = _read("planned")
GROW = _read("grow")
RETURN = _read("return")
RESTORE = _read("restore")
SUPERSEDE = _read("supersede")
CLAIM_DESTINATION = _read("claim_destination")
CLAIM_DELIVERIES = _read("claim_deliveries")
RESCUE = _read("rescue")
HEARTBEAT = _read("heartbeat")
SUBMIT = _read("submit")
CONFIRM = _read("confirm")
FINISH = _read("finish")
FAIL = _read("fail")
RELEASE = _read("release")
SHRINK = _read("shrink")
REVIVE = _read("revive")
RESUME = _read("resume")
TAKE_BACK = _read("take_back")
LOCK_DESTINATION = _read("lock_destination")
NOTE_SUCCESS = _read("note_success")
NOTE_FAILURE = _read("note_failure")
OPEN_BREAKER = _read("open_breaker")
CLAIM_PROBES = _read("claim_probes")
NOTE_PROBE = _read("note_probe")
CLAIM_VERIFICATIONS = _read("claim_verifications")
NOTE_VERIFIED = _read("note_verified")
NOTE_UNANSWERED = _read("note_unanswered")
LACK = _read("lack")
RECORD_ALL = _read("record_all")
RECORD_EVENT = _read("record_event")
COUNT_EVENTS = _read("count_events")
NEXT_TO_COUNT = _read("next_to_count")
LATENCIES = _read("latencies")
MEASURE = _read("measure")
