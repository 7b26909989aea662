"""Drills: is something broken on purpose?"""

from __future__ import annotations

from collections.abc import Iterator

from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Finding, ok, warning
from pacsops.doctor.site import Site
from pacsops.gateway import faults


@check("gateway-faults", section=Section.SERVICES, scope="host")
def gateway_faults(site: Site) -> Iterator[Finding]:
    """Whether this host's gateway is made to fail on purpose."""
    settings = site.settings
    if not settings.gateway_port or not settings.gateway_drills:
        return
    injected = faults.injected(settings.gateway_spool)
    if injected:
        yield warning(
            f"The gateway fails on purpose: {injected}.",
            "`orthanc clear-faults` when the drill is over",
            faults=injected.as_dict(),
        )
    else:
        yield ok("no fault is injected into the gateway")
