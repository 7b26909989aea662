"""Certificates for tests, made as a site's are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ansible.module_utils

CHECKOUT = Path(__file__).parents[2]
if str(CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(CHECKOUT / "module_utils"))  # as ansible.cfg does

from ansible.module_utils import site_certificates as made  # type: ignore[attr-defined]  # noqa: E402


@dataclass(frozen=True)
class Certified:
    """A certificate, its key, and the authority that issued it."""

    certificate: Path
    key: Path
    authority: Path

    def dcmtk(self) -> list[str]:
        """What DCMTK's programs are told."""
        return ["+tls", str(self.key), str(self.certificate), "+cf", str(self.authority)]


def certified(folder: Path, name: str) -> Certified:
    """Of the authority in `folder`, for 127.0.0.1."""
    terms, now = made.Terms(), made.now()
    with made.held(folder):
        issuer = made.authority(folder, "authority of tests", terms, now, write=True)
        issued = made.leaf(folder / name, name, [name, "127.0.0.1"], issuer, terms, now, write=True)
    return Certified(issued.certificate, issued.key, folder / "ca.crt")
