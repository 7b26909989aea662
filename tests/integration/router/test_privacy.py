"""A patient's name reaches the operator's tables, and no log."""

from __future__ import annotations

from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery.model import Status

NAME, MRN, ACCESSION = "CANARY^NAME", "CANARY-MRN", "CANARY-ACC"


def test_no_patient_identifying_value_is_logged_on_success_failure_or_defect(site: RoutedSite) -> None:
    with Peer("PACS") as good, Peer("PICKY", status=0xC000) as bad:
        site.routes(a_route("all", [site.destination(good), site.destination(bad), "NOT_THERE"]))
        site.start_process()
        study = a_study(description="CANARY STUDY", accession=ACCESSION, patient_name=NAME, patient_id=MRN)
        study.with_series("CT").in_(site.orthanc)
        eventually(
            lambda: {d.status for d in site.deliveries()} == {Status.SUCCESS, Status.STUCK, Status.PENDING},
            within=25,
            what="a success, a failure and a wait",
        )

        assert site.deliveries()[0].patient_name == NAME
        assert "send_success" in site.log
        assert "study_stuck" in site.log
        assert "CANARY" not in site.log
        assert study.study_uid not in site.log
