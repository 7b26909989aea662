"""Orthanc's REST API: studies and their facts, the log of changes, modalities, jobs."""

from pacsops.orthanc.changes import Change, ChangesPage, changes, last_change
from pacsops.orthanc.client import Orthanc, Statistics, StudyHeader
from pacsops.orthanc.drift import Drift, drift
from pacsops.orthanc.facts import INDEXED_KEYWORDS, SERIES_KEYWORDS, complete, facts_of_studies, study_facts
from pacsops.orthanc.failures import JobFailure, classify, failure_of
from pacsops.orthanc.jobs import Job, job, store_jobs, submit_store
from pacsops.orthanc.modalities import (
    Echo,
    Modality,
    ModalityChange,
    all_modalities,
    check_aet,
    check_host,
    check_name,
    check_port,
    echo,
    echo_unregistered,
    ensure,
    remove,
)

__all__ = [
    "INDEXED_KEYWORDS",
    "SERIES_KEYWORDS",
    "Change",
    "ChangesPage",
    "Drift",
    "Echo",
    "Job",
    "JobFailure",
    "Modality",
    "ModalityChange",
    "Orthanc",
    "Statistics",
    "StudyHeader",
    "all_modalities",
    "changes",
    "check_aet",
    "check_host",
    "check_name",
    "check_port",
    "classify",
    "complete",
    "drift",
    "echo",
    "echo_unregistered",
    "ensure",
    "facts_of_studies",
    "failure_of",
    "job",
    "last_change",
    "remove",
    "store_jobs",
    "study_facts",
    "submit_store",
]
