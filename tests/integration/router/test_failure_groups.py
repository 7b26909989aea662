"""What a real Orthanc tells of a failure ends up in the group it belongs to."""

from __future__ import annotations

from pydicom.uid import CTImageStorage
from pynetdicom import evt
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk
from pacsops.delivery.model import Status

SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def test_an_object_a_destination_does_not_take_is_named_with_its_encoding(site: RoutedSite) -> None:
    with Peer("MODLINK", sop_classes=[CTImageStorage]) as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        a_study().with_series("CT", instances=3).with_series("SR").in_(site.orthanc)

        site.wait_for(Status.STUCK)

    (group,) = desk.failure_groups(site.database)
    assert (group.error_class, group.dimse_status) == ("no-presentation-context", None)
    assert (group.sop_class, group.transfer_syntax) == (SR, EXPLICIT_VR_LITTLE_ENDIAN)


def test_the_status_a_destination_answers_is_grouped_with_the_kind_of_image_it_dislikes(site: RoutedSite) -> None:
    def dislikes_reports(event: evt.Event) -> int:
        return 0xC123 if event.request.AffectedSOPClassUID == SR else 0x0000

    with Peer("MODLINK", status=dislikes_reports) as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        for _ in range(2):
            a_study().with_series("CT", instances=3).with_series("SR").in_(site.orthanc)

        site.wait_for(Status.STUCK, 2)

    (group,) = desk.failure_groups(site.database)
    assert (group.studies, group.dimse_status, group.sop_class) == (2, 0xC123, SR)
    assert "cannot understand" in group.remedy.cause


def test_an_outage_is_about_no_image(site: RoutedSite) -> None:
    with Peer("MODLINK") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        site.wait_for(Status.STUCK)

    (group,) = desk.failure_groups(site.database)
    assert (group.error_class, group.sop_class, group.transfer_syntax) == ("refused", None, None)
