"""One hash over files and folders of the controller: another one when, and only when, their content is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: fingerprint
short_description: One hash over files and folders of the controller
description:
  - Another hash when a file's path below what was named, or its content, is another one. What Python and its tools
    leave behind (C(__pycache__), C(*.egg-info)) does not count, so that a checkout and its archive agree.
options:
  _terms:
    description: Paths of files and folders; their order does not matter.
    required: true
"""

EXAMPLES = """
- name: Print what stands for the build context of an image
  ansible.builtin.debug:
    msg: "{{ lookup('fingerprint', playbook_dir ~ '/../images/viewer') }}"
"""

RETURN = """
_raw:
  description: SHA-256, in hexadecimal digits.
  type: list
  elements: str
"""


def files_of(root: Path) -> Iterator[tuple[str, Path]]:
    """Each file of `root`, a file or a folder, with its path from root's own parent on."""
    if root.is_file():
        yield root.name, root
        return
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part == "__pycache__" or part.endswith(".egg-info") for part in parts):
            yield f"{root.name}/{'/'.join(parts)}", path


def fingerprint(roots: list[Path]) -> str:
    """SHA-256 over the files' names and contents. FileNotFoundError for a root that is not there."""
    found: list[tuple[str, Path]] = []
    for root in roots:
        if not root.exists():
            raise FileNotFoundError(root)
        found += files_of(root)
    total = hashlib.sha256()
    for name, path in sorted(found):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        try:
            return [fingerprint([Path(term) for term in terms])]
        except OSError as error:
            raise AnsibleLookupError(f"the fingerprint needs a file that cannot be read: {error}") from error
