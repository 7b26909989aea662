"""Whom the receiver lets in, and for what.

Source: PS3.8 9.3.4 (rejections), PS3.6 annex A (SOP classes and transfer syntaxes)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

from pacsops.dimse import VERIFICATION, Policy
from pacsops.dimse.negotiation import UNKNOWN_CALLING_AET
from pacsops.dimse.pdu import AssociateReject, AssociateRequest
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.faults import Faults

_NO_DATA_SETS: Final = frozenset({"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20"})
"""Transfer syntaxes that encode something else: MIME, XML, Papyrus."""
_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
_NOT_STORED: Final = frozenset({"1.2.840.10008.1.3.10"})
"""The directory of a medium is called a storage class and never sent."""
_MOST_ASSOCIATIONS: Final = 256
_INJECTED: Final = AssociateReject(2, 1, 1)
"""Transient, by the user, no reason given."""


def _named(kind: str, *words: str) -> frozenset[str]:
    return frozenset(
        uid for uid, (name, of, *_) in UID_dictionary.items() if of == kind and all(word in name for word in words)
    )


TRANSFER_SYNTAXES: Final = _named("Transfer Syntax") - _NO_DATA_SETS
"""Those of PS3.5, retired ones included: old equipment still speaks them, and nothing is decoded here."""
STORAGE_CLASSES: Final = _named("SOP Class", "Storage") - _named("SOP Class", "Storage Commitment") - _NOT_STORED
"""Every storage SOP class that is known, retired ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission(Policy):
    """gateway.yml as it is at the moment: peers by AE title, and by address where it names one."""

    configuration: Callable[[], Configuration]
    faults: Faults

    def admit(self, request: AssociateRequest, address: str) -> AssociateReject | None:
        refusal = Policy.admit(self, request, address)  # `super()` does not know classes with slots
        if refusal is not None:
            return refusal
        if not any(
            peer.aet == request.calling_aet and peer.comes_from(address) for peer in self.configuration().peers
        ):
            return UNKNOWN_CALLING_AET
        return _INJECTED if self.faults.rejects() else None

    def associations_of(self, calling_aet: str) -> int:
        return max((peer.associations for peer in self.configuration().peers if peer.aet == calling_aet), default=0)


def admission(aet: str, configuration: Callable[[], Configuration], faults: Faults) -> Admission:
    """The terms of a gateway that is called `aet`."""
    return Admission(
        transfer_syntaxes=partial(_taken, configuration),
        called_aets=frozenset({aet}),
        maximum_associations=_MOST_ASSOCIATIONS,
        configuration=configuration,
        faults=faults,
    )


def _taken(configuration: Callable[[], Configuration], sop_class_uid: str) -> Collection[str]:
    """Every transfer syntax for what may be stored here, and for C-ECHO."""
    if sop_class_uid in UID_dictionary:
        taken = sop_class_uid == VERIFICATION or sop_class_uid in STORAGE_CLASSES
    else:
        # DICOM gets new classes every year, and this host its new dictionary years later.
        taken = sop_class_uid.startswith(_STORAGE_ROOT) or configuration().private_sop_classes
    return TRANSFER_SYNTAXES if taken else ()
