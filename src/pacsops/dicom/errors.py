"""What can be wrong with a data set."""

from __future__ import annotations

from pacsops.errors import PacsopsError


class UnreadableDataSet(PacsopsError):
    """A data set is not encoded as DICOM says (PS3.5), or so that no honest one would be."""
