"""Backups, as the timers of a host make and prove them."""

from __future__ import annotations

import json

from tests.support.deployed import Site, SiteHost

ORTHANC = "/opt/orthanc/bin/orthanc"


def test_the_timers_of_a_host_store_a_backup_and_prove_it(host: SiteHost, site: Site) -> None:
    if not site.has_backups:
        return
    images = site.scan("BACKUP-DAY")
    for timer in ("pacsops-backup", "pacsops-backup-verify"):
        assert host.machine.run(f"systemctl is-active {timer}.timer").stdout.strip() == "active"
        host.says(f"systemctl start {timer}.service")  # fails when what it starts does

    told = json.loads(host.says(f"{ORTHANC} backup status --json"))
    [stored, *_] = json.loads(host.says(f"{ORTHANC} backup list --json"))["backups"]
    assert told["last_backup"]
    assert told["last_verify"]
    assert told["exit_code"] == 0
    assert stored["files"] >= len(images)
