"""Who is where in the demo, and a C-STORE between them.

The neighbours and the story read the same small JSON file, laid down by the deployment:

    {"orthanc": {"host": "127.0.0.1", "port": 14242, "aet": "ORTHANC_DEMO"}, "listen": "127.0.0.1",
     "data": "/abs/.demo/data/neighbours",
     "neighbours": {"SCANNER": {"aet": "CR_ROOM1", "port": 11111, "control_port": 11121},
                    "MODLINK": {"aet": "MODLINK", "port": 11115}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

NETWORK_TIMEOUT = 10.0
"""Seconds for a connection, an association answer or a C-STORE response."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One simulated application entity on this machine."""

    name: str
    aet: str
    port: int
    data: Path
    """What it received: `<StudyInstanceUID>/<SOPInstanceUID>.dcm`."""
    listen: str
    """The address it listens on."""
    control_port: int | None = None
    """The scanner's push button: HTTP."""


@dataclass(frozen=True, slots=True)
class Orthanc:
    """Where the demo's Orthanc takes C-STORE."""

    host: str
    port: int
    aet: str


@dataclass(frozen=True, slots=True)
class Network:
    """The demo's Orthanc and its neighbours."""

    orthanc: Orthanc
    neighbours: Mapping[str, Neighbour]

    @classmethod
    def read(cls, path: Path) -> Network:
        """Read the JSON file.

        Raises:
            SystemExit: the file is missing, no JSON, or lacks a key; says which.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            data = Path(content["data"])
            return cls(
                Orthanc(**{key: content["orthanc"][key] for key in ("host", "port", "aet")}),
                {
                    name: Neighbour(
                        name, entry["aet"], entry["port"], data / name, content["listen"], entry.get("control_port")
                    )
                    for name, entry in content["neighbours"].items()
                },
            )
        except (OSError, ValueError) as error:
            raise SystemExit(f"cannot read {path}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise SystemExit(f"{path} is no description of the demo's network: {error!r}") from error


class NotTaken(Exception):
    """Orthanc did not take everything that was sent to it."""


def store(datasets: Sequence[Dataset], *, calling_aet: str, orthanc: Orthanc) -> None:
    """Send `datasets` (explicit VR little endian) over one association (PS3.4 B, C-STORE).

    Raises:
        NotTaken: no connection or association, or a response other than success or warning. Some may have arrived.
    """
    entity = AE(ae_title=calling_aet)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = NETWORK_TIMEOUT
    for sop_class in sorted({dataset.SOPClassUID for dataset in datasets}):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate(orthanc.host, orthanc.port, ae_title=orthanc.aet)
    if not association.is_established:
        why = "rejected the association" if association.is_rejected else "does not answer"
        raise NotTaken(f"{orthanc.aet} at {orthanc.host}:{orthanc.port} {why}")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset).get("Status")
            if status is None:
                raise NotTaken(f"{orthanc.aet} broke the association off")
            if status != 0x0000 and status >> 12 != 0xB:
                raise NotTaken(f"{orthanc.aet} answered status 0x{status:04X}")
    except ValueError as error:
        raise NotTaken(f"{orthanc.aet} refuses such images: {error}") from error
    finally:
        association.release()


def stored_files(neighbour: Neighbour, study_uid: str) -> Sequence[Path]:
    """The files of one study that `neighbour` has acknowledged."""
    return sorted((neighbour.data / study_uid).glob("[0-9]*.dcm"))


def say(neighbour: Neighbour, text: str) -> None:
    """One plain line to the neighbour's log. Identifiers of images only, never of patients."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {neighbour.name} {text}", flush=True)
