"""The gateway's destinations, written as Orthanc's modalities are: every page and check reads one kind of thing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pacsops.delivery.heartbeat import Beat
from pacsops.dimse import DimseError, Peer, verification
from pacsops.gateway.certificates import for_destinations
from pacsops.orthanc import Echo, JobFailure, Modality
from pacsops.settings import Settings

ECHO_TIMEOUT = 5.0

Kind = Literal["refused", "unreachable", "timeout", "rejected-association", "aborted"]
_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "refused": "refused",
        "unreachable": "unreachable",
        "timeout": "timeout",
        "rejected": "rejected-association",
        "aborted": "aborted",
    }
)
"""By `verification.Outcome`."""


def gateway_destinations(beat: Beat | None) -> dict[str, Modality]:
    """What the gateway that gave this sign of life sends to, by name; none where no gateway ever did."""
    if beat is None:
        return {}
    aet = str(beat.detail.get("aet", ""))
    return {
        name: Modality(
            name=name,
            aet=said["aet"],
            host=said["host"],
            port=said["port"],
            use_dicom_tls=said["tls"],
            local_aet=aet,
            allow_store=True,
        )
        for name, said in beat.detail.get("destinations", {}).items()
    }


def gateway_pools(beat: Beat | None) -> dict[str, list[str]]:
    """The members of each pool of the gateway that gave this sign of life."""
    return dict(beat.detail.get("pools", {})) if beat is not None else {}


def echo_as_gateway(settings: Settings, modality: Modality) -> Echo:
    """A C-ECHO from this host under the gateway's AE title, as its deliveries are sent: for the gateway's host."""
    try:
        tls = for_destinations(settings).context() if modality.use_dicom_tls else None
    except DimseError as error:
        return Echo(False, 0, JobFailure("tls", str(error)))
    peer = Peer(modality.host, modality.port, modality.aet, tls)
    answer = asyncio.run(verification.ask(peer, settings.gateway_aet, ECHO_TIMEOUT))
    failure = None if answer.ok else JobFailure(_KINDS[answer.outcome], answer.reason)
    return Echo(answer.ok, answer.milliseconds, failure)
