"""How Orthanc's modalities differ from those an inventory names, for the people who keep the inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import yaml

from pacsops.orthanc.modalities import Modality

_UNSAID = {field.name: field.default for field in fields(Modality)}
_NOT_IN_INVENTORIES = frozenset({"local_aet", "timeout"})


@dataclass(frozen=True, slots=True)
class Drift:
    """`differing`: name → field → (in Orthanc, in the inventory)."""

    missing: tuple[Modality, ...]
    differing: Mapping[str, Mapping[str, tuple[Any, Any]]]
    unmanaged: tuple[Modality, ...]

    def lines(self) -> list[str]:
        """A sentence each, with what to do where it is not the deployment that does it."""
        missing = [f"{modality.name} is not in Orthanc" for modality in self.missing]
        differing = [
            f"{name} differs: "
            + ", ".join(f"{key} is {there}, the inventory says {here}" for key, (there, here) in values.items())
            for name, values in self.differing.items()
        ]
        unmanaged = [
            f"{modality.name} is in Orthanc and not in the inventory: add - {inventory_entry(modality)} to"
            f" orthanc_modalities, or say `orthanc remove-destination {modality.name}`"
            for modality in self.unmanaged
        ]
        return [*missing, *differing, *unmanaged]


def drift(wanted: Iterable[Modality], registered: Mapping[str, Modality]) -> Drift:
    """What of `registered` (by name, as Orthanc has them) is not as `wanted`."""
    known = {modality.name: modality for modality in wanted}
    return Drift(
        missing=tuple(modality for name, modality in known.items() if name not in registered),
        differing={
            name: registered[name].differences(modality)
            for name, modality in known.items()
            if name in registered and registered[name] != modality
        },
        unmanaged=tuple(modality for name, modality in sorted(registered.items()) if name not in known),
    )


def inventory_entry(modality: Modality) -> str:
    """One line of orthanc_modalities (roles/orthanc): what is not as when unsaid."""
    said = {
        key: value
        for key, value in asdict(modality).items()
        if key not in _NOT_IN_INVENTORIES and value != _UNSAID[key]
    }
    return yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=10_000).strip()
