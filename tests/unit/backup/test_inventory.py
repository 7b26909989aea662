"""The inventory of a storage: read and written as a stream, digests carried over from the one before."""

from __future__ import annotations

import io
import os
from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pacsops.backup import inventory
from pacsops.backup.inventory import Entry
from pacsops.backup.progress import silent

UUID = "ab3f0000-1111-2222-3333-444455556666"


def taken(folder: Path, before: str = "") -> str:
    target = io.StringIO()
    inventory.write(folder, inventory.read(before.splitlines()), target, silent, new=0, step="Reading")
    return target.getvalue()


def test_an_inventory_has_every_file_with_its_digest_and_nothing_of_ours(tmp_path: Path) -> None:
    image = tmp_path / inventory.attachment_path(UUID)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    (tmp_path / "a name\twith\nanything \udcff").write_bytes(b"odd")
    (tmp_path / ".pacsops-restoring" / "x").mkdir(parents=True)
    (tmp_path / ".pacsops-restoring" / "x" / "y").write_bytes(b"ours")
    (tmp_path / "link").symlink_to(image)

    entries = list(inventory.read(taken(tmp_path).splitlines()))

    assert {entry.path: entry.sha256 for entry in entries} == {
        "a name\twith\nanything \udcff": sha256(b"odd").hexdigest(),
        f"ab/3f/{UUID}": sha256(b"image").hexdigest(),
    }
    assert [entry.attachment for entry in entries] == [None, UUID]


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    for name in ("changed", "gone", "kept", "touched"):
        (tmp_path / name).write_bytes(b"before")
    before = "".join(f"{'0' * 64}{line[64:]}\n" for line in taken(tmp_path).splitlines())
    (tmp_path / "gone").unlink()
    (tmp_path / "changed").write_bytes(b"a longer one")
    (tmp_path / "new").write_bytes(b"new")
    os.utime(tmp_path / "touched", (1, 1))

    digests = {entry.path: entry.sha256 for entry in inventory.read(taken(tmp_path, before).splitlines())}

    assert digests == {
        "changed": sha256(b"a longer one").hexdigest(),
        "kept": "0" * 64,
        "new": sha256(b"new").hexdigest(),
        "touched": sha256(b"before").hexdigest(),
    }
    assert inventory.new_octets(tmp_path, inventory.read(before.splitlines())) == 12 + 3 + 6


NAMES = st.text("ab-/.0", min_size=1, max_size=5).filter(lambda name: "" not in name.split("/"))


@given(st.dictionaries(NAMES, st.integers(0, 2)), st.dictionaries(NAMES, st.integers(0, 2)))
def test_a_digest_is_carried_over_for_the_same_file_and_no_other(now: dict[str, int], then: dict[str, int]) -> None:
    def entries(files: dict[str, int], digest: str) -> list[Entry]:
        ordered = sorted(files, key=lambda path: path.split("/"))
        return [Entry(path, files[path], files[path], digest) for path in ordered]

    found = list(inventory.known(entries(now, ""), entries(then, "known")))

    assert [entry.path for entry in found] == sorted(now, key=lambda path: path.split("/"))
    for entry in found:
        assert (entry.sha256 == "known") == (then.get(entry.path) == entry.size)
