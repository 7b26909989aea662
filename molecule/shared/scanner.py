"""CR_ROOM1, a scanner beside the site: makes a study of two radiographs and sends it by C-STORE (PS3.4 B).

    python molecule/shared/scanner.py HOST ACCESSION-NUMBER [SERVICE]

HOST: a container of this machine's Docker engine; SERVICE: orthanc, or the gateway there. Prints the SOP instance
UIDs, one a line. A study follows from its accession number: sent twice, it is the same one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pynetdicom import AE

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from pacsops.dicom.synthetic import Study

AET = "CR_ROOM1"
RECEIVERS = {"orthanc": ("ORTHANC_TEST", 4242), "gateway": ("EDGE_TEST", 11112)}
"""Service: its AE title and port."""


def address_of(container: str) -> str:
    """Where this machine reaches it, on its scenario's network."""
    asked = ["docker", "inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def send(container: str, accession: str, service: str = "orthanc") -> list[str]:
    """The SOP instance UIDs of what was sent.

    Raises:
        ConnectionError: there is no association, or an instance was not taken.
    """
    study = Study(seed=accession, study_description="CHEST", accession_number=accession)
    study.add_series("CR", instances=2)
    called_aet, port = RECEIVERS[service]
    ae = AE(AET)
    for dataset in study.datasets:
        ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = ae.associate(address_of(container), port, ae_title=called_aet)
    if not association.is_established:
        raise ConnectionError(f"{called_aet} on {container} takes no association from {AET}")
    try:
        for dataset in study.datasets:
            status = association.send_c_store(dataset)
            if "Status" not in status or status.Status != 0:
                raise ConnectionError(f"{called_aet} on {container} answers {status or 'nothing'}")
    finally:
        association.release()
    return [str(dataset.SOPInstanceUID) for dataset in study.datasets]


if __name__ == "__main__":
    print(*send(*sys.argv[1:4]), sep="\n")
