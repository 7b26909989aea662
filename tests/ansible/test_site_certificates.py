"""site_certificates: what it issues, what it leaves alone, what it renews; looked at by openssl."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.conftest import RunModule

NAMES = ["view1", "view1.hospital.example", "192.0.2.13", "localhost"]


def arguments(folder: Path, *services: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = list(services) or [{"name": "viewer", "names": NAMES}]
    return {"folder": str(folder), "host": "view1", "services": wanted, **more}


def openssl(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/usr/bin/openssl", *map(str, words)], capture_output=True, text=True, check=False)


def test_a_certificate_leads_to_the_authority_and_names_all_its_host_is_called(
    tmp_path: Path, run_module: RunModule
) -> None:
    made = run_module("site_certificates", arguments(tmp_path))

    certificate = tmp_path / "view1" / "viewer.crt"
    for name in ("view1", "view1.hospital.example", "localhost"):
        checked = openssl(
            "verify", "-x509_strict", "-CAfile", tmp_path / "ca.crt", "-verify_hostname", name, certificate
        )
        assert checked.returncode == 0, checked.stderr
    for address, known in (("192.0.2.13", True), ("192.0.2.14", False)):
        checked = openssl("verify", "-CAfile", tmp_path / "ca.crt", "-verify_ip", address, certificate)
        assert (checked.returncode == 0) == known, address
    text = openssl("x509", "-in", certificate, "-noout", "-text").stdout
    assert "prime256v1" in text
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
    assert openssl("x509", "-in", certificate, "-noout", "-checkend", str(396 * 86400)).returncode == 0
    assert openssl("x509", "-in", certificate, "-noout", "-checkend", str(398 * 86400)).returncode == 1
    assert made["certificates"]["viewer"]["made"]


def test_a_second_run_changes_nothing(tmp_path: Path, run_module: RunModule) -> None:
    first = run_module("site_certificates", arguments(tmp_path))
    second = run_module("site_certificates", arguments(tmp_path))

    assert (first["changed"], second["changed"]) == (True, False)
    assert second["certificates"]["viewer"]["fingerprint"] == first["certificates"]["viewer"]["fingerprint"]


def test_a_check_run_tells_and_makes_nothing(tmp_path: Path, run_module: RunModule) -> None:
    told = run_module("site_certificates", arguments(tmp_path / "new"), check=True)

    assert told["changed"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"days": 20}, {}, "it ends on"),
        ({}, {"services": [{"name": "viewer", "names": [*NAMES, "pacs"]}]}, "other names"),
    ],
    ids=["short-lived", "renamed"],
)
def test_a_certificate_that_no_longer_serves_is_made_anew(
    before: dict[str, Any], after: dict[str, Any], why: str, tmp_path: Path, run_module: RunModule
) -> None:
    old = run_module("site_certificates", {**arguments(tmp_path), **before})
    new = run_module("site_certificates", {**arguments(tmp_path), **after})

    assert new["changed"]
    assert why in new["diff"]["before"]
    assert new["certificates"]["viewer"]["fingerprint"] != old["certificates"]["viewer"]["fingerprint"]
    assert openssl("verify", "-CAfile", tmp_path / "ca.crt", tmp_path / "view1" / "viewer.crt").returncode == 0


def test_a_key_that_was_lost_or_replaced_brings_a_new_certificate(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_certificates", arguments(tmp_path))
    (tmp_path / "view1" / "viewer.key").write_bytes((tmp_path / "ca.key").read_bytes())

    assert "damaged" in run_module("site_certificates", arguments(tmp_path))["diff"]["before"]


def test_another_authority_replaces_every_certificate(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_certificates", arguments(tmp_path))
    for half in ("ca.crt", "ca.key"):
        (tmp_path / half).unlink()

    assert "another authority" in run_module("site_certificates", arguments(tmp_path))["diff"]["before"]


def test_half_an_authority_is_said_and_not_replaced(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_certificates", arguments(tmp_path))
    (tmp_path / "ca.key").unlink()

    refused = run_module("site_certificates", arguments(tmp_path))

    assert refused["failed"]
    assert "ca.key" in refused["msg"]


def test_the_sites_own_files_are_taken_and_no_authority_is_made(tmp_path: Path, run_module: RunModule) -> None:
    elsewhere = tmp_path / "hospital"
    run_module("site_certificates", arguments(elsewhere))
    own = {"certificate": str(elsewhere / "view1" / "viewer.crt"), "key": str(elsewhere / "view1" / "viewer.key")}

    given = run_module("site_certificates", arguments(tmp_path / "site", {"name": "viewer", **own}))

    assert (given["changed"], given["authority"]) == (False, None)
    assert given["certificates"]["viewer"]["key"] == own["key"]
    assert not (tmp_path / "site").exists()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_certificates", arguments(tmp_path))
    mixed = {"certificate": str(tmp_path / "view1" / "viewer.crt"), "key": str(tmp_path / "ca.key")}

    refused = run_module("site_certificates", arguments(tmp_path, {"name": "viewer", **mixed}))

    assert refused["failed"]
    assert "is not the key of" in refused["msg"]


def test_a_certificate_of_ones_own_that_ends_soon_is_warned_about(tmp_path: Path, run_module: RunModule) -> None:
    run_module("site_certificates", {**arguments(tmp_path, days=20), "host": "mammo1"})
    own = {"certificate": str(tmp_path / "mammo1" / "viewer.crt"), "key": str(tmp_path / "mammo1" / "viewer.key")}

    given = run_module("site_certificates", {**arguments(tmp_path, {"name": "viewer", **own}), "host": "mammo1"})

    assert "viewer on mammo1 ends on" in given["ending"][0]


def test_no_key_is_shown_and_every_file_is_its_owners_alone(tmp_path: Path, run_module: RunModule) -> None:
    shown = str(run_module("site_certificates", arguments(tmp_path / "ca")))

    keys = list((tmp_path / "ca").rglob("*.key"))
    assert len(keys) == 2
    for key in keys:
        assert key.stat().st_mode & 0o777 == 0o600
        for line in re.findall(r"^[A-Za-z0-9+/=]{20,}$", key.read_text(), re.MULTILINE):
            assert line not in shown
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700


def test_a_host_cannot_be_named_out_of_the_folder(tmp_path: Path, run_module: RunModule) -> None:
    refused = run_module("site_certificates", {**arguments(tmp_path / "ca"), "host": "../elsewhere"})

    assert refused["failed"]
    assert not (tmp_path / "elsewhere").exists()
