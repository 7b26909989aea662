"""The crash drill: a short one finds nothing missing; with a gateway that answers too early it says what is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from drill.__main__ import run
from drill.faults import FAULTS

HASTY = ("-m", "tests.support.hasty_gateway")


@pytest.mark.timeout(300)
def test_nothing_accepted_is_lost_whatever_is_killed_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(20, "7", list(FAULTS), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accepted"] > 0
    assert report["faults"]
    assert (report["lost"], report["false_successes"]) == ([], [])


@pytest.mark.timeout(300)
def test_an_answer_before_the_image_has_its_name_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(10, "7", ["receiver killed", "gateway killed"], program=HASTY) == 1
    said = capsys.readouterr()
    *_, summary = said.out.splitlines()
    assert " is not in the spool" in said.out
    assert " 0 lost" not in summary
    kept = said.err.splitlines()[-1].rpartition(" ")[2]
    assert (Path(kept) / "ledger").exists()
    shutil.rmtree(kept)
