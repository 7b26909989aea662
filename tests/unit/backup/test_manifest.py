"""A manifest is believed only when it is the one its snapshot was made with."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from pacsops.backup.manifest import Dump, Manifest, Storage
from pacsops.errors import BackupRefused

MANIFEST = Manifest(
    id="20260203-103015-3fa9",
    created_at="2026-02-03T10:30:15+00:00",
    host="db1",
    version="0.1.0",
    parts=("database", "files"),
    site_parts=("database", "files", "routes"),
    staging="/opt/orthanc/backups/pacsops-staging",
    config="/opt/orthanc/config",
    migrations=("0001_routing",),
    postgres_version=150018,
    pacsops=Dump("pacsops.dump", "0" * 64, 10, 100, {"public.routing_state": 3}),
    orthanc=Dump("orthanc.dump", "1" * 64, 10, 100, {"public.resources": 4}),
    storage=Storage("/opt/orthanc/data/dicom", 2, 300, "files.tsv", "2" * 64),
    routes="/opt/orthanc/config/routes.yml",
)


def read(**changed: Any) -> Manifest:
    text = json.dumps({**json.loads(MANIFEST.text()), **changed}).encode()
    return Manifest.of(text, sha256(text).hexdigest())


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.of(MANIFEST.text(), sha256(MANIFEST.text()).hexdigest()) == MANIFEST
    assert read(storage=None).storage is None


def test_another_manifest_than_the_snapshots_is_refused() -> None:
    for expected in (None, "0" * 64):
        with pytest.raises(BackupRefused, match="half a backup"):
            Manifest.of(MANIFEST.text(), expected)


@pytest.mark.parametrize("changed", [{"parts": None}, {"migrations": None}, {"pacsops": {"file": "x"}}, {"more": 1}])
def test_an_incomplete_manifest_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BackupRefused, match="half a backup: its manifest is incomplete"):
        read(**changed)


@pytest.mark.parametrize("changed", [{"schema_version": 2}, {"migrations": ["0001_routing", "9999_future"]}])
def test_a_newer_version_is_named(changed: dict[str, Any]) -> None:
    with pytest.raises(BackupRefused, match=r"newer version of pacsops \(7\.0\)") as caught:
        read(version="7.0", **changed)
    assert caught.value.hint == "deploy pacsops 7.0 or newer, then restore"
