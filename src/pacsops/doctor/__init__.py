"""Diagnosis of a site: checks as data, run side by side, each with what it saw and what to do about it."""

from pacsops.doctor.catalogue import CHECKS, QUICK, chosen
from pacsops.doctor.check import Check, Section
from pacsops.doctor.examination import Examination, examine, examine_in_turn
from pacsops.doctor.finding import Finding, Fix
from pacsops.doctor.report import as_document
from pacsops.doctor.site import Site

__all__ = [
    "CHECKS",
    "QUICK",
    "Check",
    "Examination",
    "Finding",
    "Fix",
    "Section",
    "Site",
    "as_document",
    "chosen",
    "examine",
    "examine_in_turn",
]
