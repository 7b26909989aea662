"""What makes an image another image: the fingerprint of what it is built from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from tests.ansible.conftest import CHECKOUT

_PATH = CHECKOUT / "lookup_plugins" / "fingerprint.py"
_SPEC = importlib.util.spec_from_file_location("fingerprint", _PATH)
assert _SPEC and _SPEC.loader
_PLUGIN = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PLUGIN)


def fingerprint(*paths: Path) -> str:
    [found] = _PLUGIN.LookupModule().run([str(path) for path in paths])
    return str(found)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "sub" / "entrypoint").write_text("exec true\n")
    return folder


def test_another_content_or_name_is_another_fingerprint(context: Path) -> None:
    seen = {fingerprint(context)}
    (context / "sub" / "entrypoint").write_text("exec false\n")
    seen.add(fingerprint(context))
    (context / "sub" / "entrypoint").rename(context / "sub" / "start")
    seen.add(fingerprint(context))
    assert len(seen) == 3


def test_a_copy_elsewhere_has_the_same_fingerprint(context: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "context"
    (copy / "sub").mkdir(parents=True)
    for name in ("Dockerfile", "sub/entrypoint"):
        (copy / name).write_bytes((context / name).read_bytes())
    assert fingerprint(copy) == fingerprint(context)


def test_what_python_leaves_behind_changes_nothing(context: Path) -> None:
    before = fingerprint(context)
    for folder in ("__pycache__", "pacsops.egg-info"):
        (context / folder).mkdir()
        (context / folder / "file").write_text("left behind")
    assert fingerprint(context) == before


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match="no-such-folder"):
        fingerprint(tmp_path / "no-such-folder")
