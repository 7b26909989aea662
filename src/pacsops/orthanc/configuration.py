"""The modalities of an Orthanc configuration file, as Orthanc reads it: JSON with comments.

Source: https://orthanc.uclouvain.be/book/users/configuration.html, DicomModalities.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacsops.errors import ConfigurationUnreadable, InvalidDestination
from pacsops.orthanc.modalities import Modality

_MAX_BYTES = 10_000_000
# A string, or a comment, or the comma before a closing bracket: Orthanc's parser takes all three.
_PIECES = re.compile(r'("(?:[^"\\]|\\.)*")|(//[^\n]*|/\*.*?\*/)|(,)(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)


def read_modalities(path: Path) -> list[Modality]:
    """The entries of DicomModalities, by name, with the rights Orthanc gives them there: all that are not denied.

    Raises:
        ConfigurationUnreadable: the file cannot be read, is no such configuration, or has entries that Orthanc would
            not take; with every problem.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationUnreadable(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationUnreadable(f"{path} is no configuration: it has more than {_MAX_BYTES // 1_000_000} MB")
    return modalities_of(content.decode("utf-8-sig", "replace"), str(path))


def modalities_of(text: str, name: str) -> list[Modality]:
    """The same of the text of a file called `name`."""
    try:
        document = json.loads(_PIECES.sub(_kept, text))
    except (ValueError, RecursionError) as error:
        where = f"{name}, line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else name
        raise ConfigurationUnreadable(
            f"{where}: that is not JSON", hint="it is to be an orthanc.json, whole or just its DicomModalities"
        ) from error
    entries = document.get("DicomModalities") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise ConfigurationUnreadable(
            f"{name} has no DicomModalities", hint="name the file of Orthanc's configuration that has them"
        )
    found, problems = [], []
    for key, entry in sorted(entries.items()):
        try:
            found.append(_modality(key, entry))
        except (InvalidDestination, ValueError, TypeError) as error:
            problems.append(f"{key}: {error}" if not str(error).startswith("destination ") else str(error))
    if problems:
        raise ConfigurationUnreadable(
            f"{name}: {len(problems)} of {len(entries)} modalities are not what Orthanc would take:"
            + "".join(f"\n  {problem}" for problem in problems),
            hint="correct them in a copy of the file and import that",
        )
    return found


def _kept(piece: re.Match[str]) -> str:
    """A string stays; of a comment its lines, so that a mistake after it has its number."""
    if piece[1] is not None:
        return piece[1]
    return "\n" * piece[0].count("\n")


def _modality(name: str, entry: object) -> Modality:
    """`["AET", "host", 104]`, with a manufacturer or without, or an object as in Orthanc's REST API."""
    if isinstance(entry, list):
        if not 3 <= len(entry) <= 4:
            raise ValueError(f"a list of {len(entry)} values, not of an AE title, a host and a port")
        entry = dict(zip(("AET", "Host", "Port", "Manufacturer"), entry, strict=False))
    if not isinstance(entry, Mapping):
        raise ValueError("neither a list nor an object")
    missing = [key for key in ("AET", "Host", "Port") if key not in entry]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    open_ended = [value for value in entry.values() if isinstance(value, str) and "${" in value]
    if open_ended:
        raise ValueError(f"{open_ended[0]} comes from the environment of that Orthanc")
    values: Mapping[str, Any] = entry
    modality = Modality.of(name, values)
    modality.check()
    return modality
