"""The file of names and hashed passwords that nginx's `auth_basic_user_file` reads.

Runs on the host's own Python: standard library, and the libcrypt that nginx itself asks.
"""

from __future__ import annotations

import ctypes
import hmac
import secrets
import string
from collections.abc import Mapping

_SALT = string.ascii_letters + string.digits
ROUNDS = 1000
"""Of SHA-512. nginx hashes the password again for each image, in the process that serves all others too; more rounds
would be felt in the viewer. Passwords must be long instead."""


def renewed(present: str, users: Mapping[str, str]) -> str:
    """The file for these users, name to password. Lines whose password still holds stay as they are."""
    known = dict(line.split(":", 1) for line in present.splitlines() if ":" in line)
    lines = []
    for name, password in sorted(users.items()):
        kept = known.get(name, "")
        lines.append(f"{name}:{kept if kept and matches(password, kept) else hashed(password)}\n")
    return "".join(lines)


def matches(password: str, kept: str) -> bool:
    return hmac.compare_digest(_crypt(password, kept), kept)


def hashed(password: str) -> str:
    salt = "".join(secrets.choice(_SALT) for _ in range(16))
    return _crypt(password, f"$6$rounds={ROUNDS}${salt}$")


def _crypt(password: str, setting: str) -> str:
    """crypt(3). The module `crypt` left Python with 3.13.

    Raises:
        ValueError: the library knows no such way of hashing.
    """
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    answer: bytes | None = library.crypt(password.encode(), setting.encode())
    if not answer or answer.startswith(b"*"):
        raise ValueError("libcrypt does not hash passwords with SHA-512")
    return answer.decode()
