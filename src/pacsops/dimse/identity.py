"""Who says all this: the implementation that associations and files name (PS3.7 D.3.3.2)."""

from __future__ import annotations

from typing import Final

from pacsops import __version__

IMPLEMENTATION_CLASS_UID: Final = "2.25.186324123266564056233031027193835208115"
IMPLEMENTATION_VERSION: Final = f"PACSOPS_{__version__}"[:16]
