"""What a failure means in plain words, and what mends it: by error class, and more closely by DIMSE status.

Sources: PS3.4 table B.2-1 (C-STORE statuses), PS3.7 annex C (statuses of every service), and what Orthanc reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pacsops.delivery.model import ErrorClass


@dataclass(frozen=True, slots=True)
class Remedy:
    """For an operator who does not program. `{destination}` stands for the destination's name."""

    cause: str
    fix: str


BY_CLASS: Mapping[ErrorClass, Remedy] = MappingProxyType(
    {
        ErrorClass.REFUSED: Remedy(
            "The host answers, but no program listens on the DICOM port: the destination's DICOM service is stopped,"
            " or the port is another.",
            "Ask the destination's administrator to start its DICOM service; compare the port with"
            " `orthanc destinations`. `orthanc test-destination {destination}` says when it is back; what got stuck"
            " over it then goes out by itself.",
        ),
        ErrorClass.UNREACHABLE: Remedy(
            "The network does not reach the host: it is off, its address changed, its name is unknown, or a firewall"
            " is in between.",
            "Check address and cable or VPN with the network team, and that the firewall lets this host through;"
            " correct the address by `orthanc add-destination --name {destination}`.",
        ),
        ErrorClass.TIMEOUT: Remedy(
            "The destination took the connection and then fell silent: it is overloaded or hangs, or a firewall drops"
            " long connections.",
            "Ask the destination's administrator whether it is overloaded or needs a restart; fewer deliveries at"
            " once may help: `orthanc add-destination --name {destination} --concurrency 1`.",
        ),
        ErrorClass.REJECTED_ASSOCIATION: Remedy(
            "The destination does not accept us: it does not know our AE title or address, or its own AE title is"
            " another than the one we call.",
            "Ask its administrator to accept our AE title and address, and compare its AE title (upper and lower case"
            " count) with `orthanc destinations`.",
        ),
        ErrorClass.TLS: Remedy(
            "No TLS connection came about: a certificate has ended, one side does not believe the other's, or the"
            " destination speaks no TLS on this port.",
            "Ask its administrator whether its certificate is in force and whether it believes ours; who Orthanc"
            " believes is certificates_trusted in the inventory. `orthanc test-destination {destination}` says when"
            " it works; the deliveries wait and go out by themselves.",
        ),
        ErrorClass.ABORTED: Remedy(
            "The destination broke the connection off in the middle: its program crashed or was restarted, or it"
            " cannot handle what was being sent.",
            "Retry; when the same images fail again, show its administrator the study and the time:"
            " its log says why it hung up.",
        ),
        ErrorClass.OUT_OF_RESOURCES: Remedy(
            "The destination is out of space or memory and takes nothing for now.",
            "Ask its administrator to make room. The deliveries wait and go out by themselves afterwards.",
        ),
        ErrorClass.NO_PRESENTATION_CONTEXT: Remedy(
            "The destination does not take this kind of object, or not in this encoding (transfer syntax).",
            "Ask its administrator to accept the SOP class and transfer syntax; or keep such objects from it by a"
            " condition on SOPClassUID or modality in routes.yml, and skip these.",
        ),
        ErrorClass.PEER_STATUS: Remedy(
            "The destination looked at the images and refused them.",
            "Show its administrator the study and the status: its log says what it dislikes.",
        ),
        ErrorClass.UNKNOWN_DESTINATION: Remedy(
            "Who is to send it, Orthanc or the gateway, has no destination of this name.",
            "Add it by `orthanc add-destination --name {destination}` (the gateway's: gateway_destinations in the"
            " inventory), or correct its name in routes.yml.",
        ),
        ErrorClass.VANISHED: Remedy(
            "The images were deleted from Orthanc, or from the gateway's spool, before they were sent.",
            "Have them sent here again: they are delivered then by themselves. If they are not needed, skip these.",
        ),
        ErrorClass.NOT_KEPT: Remedy(
            "The destination answered success for every image, and does not have them when it is asked: it discards"
            " or quarantines them, or lost them.",
            "Show its administrator the study: its log says what became of it. If it is not meant to keep images,"
            " say `orthanc add-destination --name {destination} --verify none` (the gateway's: `verify: none` in"
            " gateway_destinations of the inventory).",
        ),
        ErrorClass.GATEWAY: Remedy(
            "The gateway was interrupted, or could not read an image's file in its spool.",
            "Read the gateway's log at the time of the failure (`orthanc doctor` looks for its usual"
            " troubles), then retry.",
        ),
        ErrorClass.ORTHANC: Remedy(
            "Orthanc could not carry the send out.",
            "Read Orthanc's log at the time of the failure (`orthanc doctor` looks for its usual troubles), then"
            " retry.",
        ),
        ErrorClass.ORTHANC_AWAY: Remedy(
            "Orthanc or its database was away.",
            "`orthanc status` says whether it is back; the deliveries go on by themselves.",
        ),
    }
)

_STATUSES: tuple[tuple[int, int, Remedy], ...] = (
    # PS3.4 B.2.3
    (
        0xFF00,
        0xA700,
        Remedy(
            "The destination refused for lack of resources: its disk is probably full.",
            "Ask its administrator to make room. The deliveries wait and go out by themselves afterwards.",
        ),
    ),
    (
        0xFF00,
        0xA900,
        Remedy(
            "The destination finds that the images do not match what they claim to be (data set does not match SOP"
            " class): the sender made them wrongly, or the destination is strict.",
            "Show one image to the vendor of the device that made it; ask the destination's administrator whether it"
            " can be lenient here.",
        ),
    ),
    (
        0xF000,
        0xC000,
        Remedy(
            "The destination cannot understand the images, or a rule of its own refuses them (an unknown patient, a"
            " missing or garbled value, an order it does not have).",
            "Ask its administrator what its log says of this study; often patient id or accession number must be"
            " corrected first.",
        ),
    ),
    # PS3.7 annex C
    (
        0xFFFF,
        0x0105,
        Remedy(
            "The destination says an attribute does not exist there.",
            "Show its administrator the study and the status: its log names the attribute.",
        ),
    ),
    (
        0xFFFF,
        0x0106,
        Remedy(
            "The destination finds an attribute's value out of range.",
            "Its log names the attribute; have the value corrected at the device that made the images.",
        ),
    ),
    (
        0xFFFF,
        0x0110,
        Remedy(
            "Something went wrong inside the destination while it stored the images.",
            "Retry; when it happens again, its administrator finds the reason in its log.",
        ),
    ),
    (
        0xFFFF,
        0x0111,
        Remedy(
            "The destination has an image of this identifier already and refuses a second one.",
            "If it has the whole study, skip these; if not, ask its administrator to delete what it has and retry.",
        ),
    ),
    (
        0xFFFF,
        0x0112,
        Remedy(
            "The destination refers to an object it does not have.",
            "Show its administrator the study and the status.",
        ),
    ),
    (
        0xFFFF,
        0x0115,
        Remedy(
            "The destination finds an argument of the transfer invalid.",
            "Show its administrator the study and the status: its log names it.",
        ),
    ),
    (
        0xFFFF,
        0x0117,
        Remedy(
            "The destination finds the images' identifiers (SOP Instance UID) invalid: the device made them wrongly.",
            "Show one image to the vendor of the device that made it.",
        ),
    ),
    (
        0xFFFF,
        0x0118,
        Remedy(
            "The destination does not know this kind of object.",
            "Ask its administrator to accept the SOP class; or keep such objects from it by a condition in"
            " routes.yml, and skip these.",
        ),
    ),
    (
        0xFFFF,
        0x0120,
        Remedy(
            "The destination misses an attribute it needs.",
            "Its log names the attribute; have it filled in at the device that made the images.",
        ),
    ),
    (
        0xFFFF,
        0x0121,
        Remedy(
            "The destination misses the value of an attribute.",
            "Its log names the attribute; have it filled in at the device that made the images.",
        ),
    ),
    (
        0xFFFF,
        0x0122,
        Remedy(
            "The destination does not take this kind of object (SOP class).",
            "Ask its administrator to accept the SOP class; or keep such objects from it by a condition in"
            " routes.yml, and skip these.",
        ),
    ),
    (
        0xFFFF,
        0x0124,
        Remedy(
            "The destination does not let us store: our AE title lacks the right.",
            "Ask its administrator to let our AE title store images, then retry.",
        ),
    ),
    (
        0xFFFF,
        0x0210,
        Remedy(
            "The destination mistook the transfer for another one under way (duplicate invocation).",
            "Retry; when it happens again, show it to the destination's vendor.",
        ),
    ),
    (
        0xFFFF,
        0x0211,
        Remedy(
            "The destination does not know the operation: what answers on this port is no storage service.",
            "Compare AE title and port with `orthanc destinations`; `orthanc test-destination {destination}`.",
        ),
    ),
    (
        0xFFFF,
        0x0212,
        Remedy(
            "The destination misread the transfer (mistyped argument).",
            "Show it to the destination's vendor.",
        ),
    ),
    (
        0xFFFF,
        0x0213,
        Remedy(
            "The destination is at a limit of its resources.",
            "Retry later; ask its administrator which limit, and send less at once:"
            " `orthanc add-destination --name {destination} --concurrency 1`.",
        ),
    ),
)


def remedy(error_class: str | None, dimse_status: int | None, destination: str) -> Remedy:
    """The closest entry there is; every failure has one."""
    found = next((entry for mask, value, entry in _STATUSES if (dimse_status or 0) & mask == value), None)
    if found is None:
        found = next(
            (entry for known, entry in BY_CLASS.items() if known == error_class), BY_CLASS[ErrorClass.ORTHANC]
        )
    return Remedy(found.cause, found.fix.format(destination=destination))
