"""Orthanc's identifiers, which follow from those of DICOM.

Source: Orthanc Book, "Orthanc identifiers"
"""

from __future__ import annotations

import hashlib
from textwrap import wrap


def instance_id(patient_id: str, study_uid: str, series_uid: str, sop_instance_uid: str) -> str:
    """What Orthanc calls an instance; `patient_id` is empty where there is none."""
    named = "|".join((patient_id.rstrip(), study_uid, series_uid, sop_instance_uid))
    return "-".join(wrap(hashlib.sha1(named.encode(), usedforsecurity=False).hexdigest(), 8))
