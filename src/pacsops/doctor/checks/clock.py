"""Do the hosts of a site agree on the time?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, error, ok, unseen, warning
from pacsops.doctor.site import Site
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable
from pacsops.words import lasting, now

_APART, _FAR_APART = 5.0, 300.0  # seconds; Orthanc tells its time to the second. Certificates and Kerberos bear 300


@check("clock", section=Section.SERVICES, scope="host")
def clock(site: Site) -> Iterator[Finding]:
    """Whether this host's clock agrees with PostgreSQL's and Orthanc's."""
    for whose, ask in (("PostgreSQL", _postgres), ("Orthanc", _orthanc)):
        try:
            ask(site)  # the first question opens the connection
            before = now()
            theirs = ask(site)
        except (DatabaseUnreachable, OrthancUnreachable, OrthancRefused) as trouble:
            yield unseen(str(trouble), trouble.hint, subject=whose)
            continue
        middle = before + (now() - before) / 2
        seconds = (theirs - middle).total_seconds()
        figures = (Figure(f"clock_{whose.lower()}", round(seconds, 3), "s"),)
        if abs(seconds) <= _APART:
            yield ok(f"the clock of {whose} agrees", subject=whose, figures=figures, offset_seconds=round(seconds, 3))
            continue
        report = error if abs(seconds) > _FAR_APART else warning
        way = "ahead of" if seconds > 0 else "behind"
        yield report(
            f"The clock of {whose} is {lasting(abs(seconds))} {way} this host's.",
            "have both hosts follow a time server (`timedatectl`): logs and certificates go by their clocks",
            subject=whose,
            figures=figures,
            offset_seconds=round(seconds, 3),
        )


def _postgres(site: Site) -> datetime:
    with site.any_db.transaction() as tx:
        at: datetime = tx.one("SELECT clock_timestamp() AS at")["at"]
    return at


def _orthanc(site: Site) -> datetime:
    return site.orthanc.clock() + timedelta(seconds=0.5)  # it cuts off the fraction
