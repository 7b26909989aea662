"""Every page of docs/operations on a deployed site: the trouble is made real, the page followed word by word."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.support.demo_site import CHECKOUT, DemoSite, undeployed
from tests.support.hospital import Hospital
from tests.support.network import eventually, free_port
from tests.support.pages import DOCS, Page, Step, page, pages, without_colours
from tests.support.seat import Seat

pytestmark = pytest.mark.timeout(400)

SEE, DO, MENDED = "What you see", "What to do", "It is mended when"
COMMANDS = [
    "orthanc status",
    "orthanc doctor",
    "orthanc show-stuck",
    "orthanc history ACC-2026-0701",
    "orthanc failures",
]
OF_THE_MOMENT = re.compile("in the last hour|logs: |SUMMARY|C-ECHO|reachable|no destination holds up")
"""What depends on what was logged so far, or on how quickly a destination answers."""
CT_ONLY = ("1.2.840.10008.5.1.4.1.1.2",)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Deployed with a certificate that ends soon: the other drills are about a site whose certificate was renewed."""
    folder = tmp_path_factory.mktemp("drills")
    demo = yaml.safe_load((CHECKOUT / "inventories/demo/group_vars/all/vars.yml").read_text())
    over_tls = {"name": "ARCHIVE", "aet": "ARCHIVE", "host": "127.0.0.1", "port": free_port(), "use_dicom_tls": True}
    site = undeployed(folder / "site", orthanc_modalities=[*demo["orthanc_modalities"], over_tls])
    (folder / "bin").mkdir()
    try:
        site.deploy(certificates_days=20)
        yield Hospital(site, Seat(site, folder / "bin"))
    finally:
        site.shut_down()
        subprocess.run(["umount", "--lazy", str(site.home / "data" / "dicom")], capture_output=True, check=False)


@pytest.fixture
def hospital(deployed: Hospital) -> Hospital:
    """Well, whatever the drill before did."""
    deployed.is_well()
    return deployed


def test_a_certificate_ends(deployed: Hospital) -> None:
    told = page("certificate-ends")
    deployed.seat.follows(told, SEE)

    deployed.seat.follows(told, DO)

    deployed.seat.follows(told, MENDED)
    assert deployed.site.orthanc("remove-destination", "ARCHIVE", "--yes").returncode == 0


SCREENS = DOCS / "screens.md"
_SCREENS_HEAD = """\
# What the commands look like

A study of a synthetic patient, whose report MODLINK refused; written by `make screens`, on a terminal of 100 columns.
"""


def test_the_screens_in_the_docs_are_what_the_commands_show(
    hospital: Hospital, request: pytest.FixtureRequest
) -> None:
    hospital.scan("ACC-2026-0700")
    eventually(lambda: hospital.has_taken("MODLINK"), within=60, what="a first study at MODLINK")
    with hospital.modlink_is(status=0xC001):
        hospital.scan("ACC-2026-0701")
        eventually(lambda: "STUCK" in hospital.site.orthanc("history", "ACC-2026-0701").stdout, within=60)
    try:
        if request.config.getoption("--write-golden"):
            SCREENS.write_text(_SCREENS_HEAD + "".join(screen(hospital, command) for command in COMMANDS), "utf-8")

        shown = {step.command: step for step in Page(SCREENS).steps()}
        assert list(shown) == COMMANDS
        for command, step in shown.items():
            printed = hospital.seat.types(command)
            # Line by line: in which order deliveries to several destinations go out differs from time to time.
            lines = [Step(command, (line,)) for line in step.shown if not OF_THE_MOMENT.search(line)]
            lacking = [line.shown for line in lines if line.unlike(printed) is not None]
            assert not lacking, f"`make screens`: `{command}` does not show {lacking}, but\n{printed}"
    finally:
        # What stays stuck is in the way of every drill after this one.
        eventually(lambda: hospital.site.orthanc("retry", "ACC-2026-0701").returncode == 0, within=30, what="a retry")


def screen(hospital: Hospital, command: str) -> str:
    printed = without_colours(hospital.seat.types(command))
    return f"\n## {command}\n\n```console\n$ {command}\n{printed}\n```\n"


def test_a_destination_is_down(hospital: Hospital) -> None:
    told = page("destination-is-down")
    hospital.site.control("stop", "modlink")
    for number in range(3):
        hospital.scan(f"ACC-2026-01{number}")
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)
    hospital.site.control("start", "modlink")

    hospital.seat.follows(told, MENDED)


def test_a_study_is_stuck(hospital: Hospital) -> None:
    told = page("study-is-stuck")
    with hospital.modlink_is(status=0xC001):
        hospital.scan("ACC-2026-0814")
        hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_a_destination_refuses(hospital: Hospital) -> None:
    told = page("destination-refuses")
    with hospital.modlink_is(sop_classes=CT_ONLY):
        hospital.scan("ACC-2026-0201")
        hospital.scan("ACC-2026-0202")
        hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_deliveries_are_late(hospital: Hospital) -> None:
    told = page("deliveries-are-late")
    promise = "deliver_within: 3s\n    retry:\n      max_attempts: 5"
    with hospital.routes("retry:\n      max_attempts: 5", promise):
        taken(hospital, "Within:    3s")
        hospital.site.control("stop", "modlink")
        hospital.scan("ACC-2026-0301")
        hospital.seat.follows(told, SEE)

        hospital.seat.follows(told, DO)
        hospital.site.control("start", "modlink")

        hospital.seat.follows(told, MENDED)


def test_postgresql_is_gone(hospital: Hospital) -> None:
    told = page("postgresql-is-gone")
    hospital.site.control("stop", "postgres")
    assert hospital.scan("ACC-2026-0400") == 502, "what cannot be kept is refused, so that the scanner keeps it"
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.is_well()
    hospital.scan("ACC-2026-0826")
    hospital.seat.follows(told, MENDED)


def test_orthanc_is_gone(hospital: Hospital) -> None:
    told = page("orthanc-is-gone")
    hospital.site.control("stop", "orthanc")
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_the_router_is_gone(hospital: Hospital) -> None:
    told = page("router-is-gone")
    hospital.site.control("stop", "router")
    hospital.scan("ACC-2026-0827")
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_a_routes_yml_with_a_mistake_was_applied(hospital: Hospital) -> None:
    told = page("routes-are-rejected")
    with hospital.routes("to: MODLINK", "too: MODLINK"):
        hospital.seat.follows(told, SEE)

        hospital.seat.follows(told, DO)

        hospital.seat.follows(told, MENDED)


def test_a_wrong_routes_yml_was_applied(hospital: Hospital) -> None:
    told = page("routes-are-wrong")
    with hospital.routes("BONE LENGTH", "BONE AGE"):
        taken(hospital, "BONE AGE")
        hospital.scan("ACC-2026-0828")
        hospital.seat.follows(told, SEE)

        hospital.seat.follows(told, DO)

        hospital.seat.follows(told, MENDED)


def test_a_study_was_sent_nowhere(hospital: Hospital) -> None:
    told = page("study-has-no-route")
    hospital.store("KNEE AP", "ACC-2026-0777")
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_a_study_never_arrived(hospital: Hospital) -> None:
    told = page("study-never-arrived")
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)
    hospital.scan("ACC-2026-0999")

    hospital.seat.follows(told, MENDED)


def test_the_disk_is_filling(hospital: Hospital) -> None:
    told = page("disk-is-filling")
    storage = hospital.site.home / "data" / "dicom"
    with small_disk(hospital, storage) as extend:
        hospital.seat.follows(told, SEE)
        hospital.seat.follows(told, DO)
        extend()

        hospital.seat.follows(told, MENDED)


def test_a_password_leaked(hospital: Hospital) -> None:
    told = page("password-leaked")
    leaked = hospital.site.secrets(but="backup")
    (hospital.site.home / ".env").chmod(0o644)
    hospital.seat.follows(told, SEE)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)
    assert not set(leaked) & set(hospital.site.secrets(but="backup"))


def test_restore_after_a_disaster(hospital: Hospital) -> None:
    told = page("disaster")
    hospital.scan("ACC-2026-0901")
    hospital.site.control("stop", "modlink")
    hospital.scan("ACC-2026-0829")
    waits = 'Rule: "ai_sr_to_modlink"'  # for the report of the AI node
    eventually(lambda: waits in hospital.site.orthanc("history", "ACC-2026-0829").stdout, within=60)
    assert hospital.site.orthanc("backup").returncode == 0
    burn_down(hospital.site)

    hospital.seat.follows(told, DO)

    hospital.seat.follows(told, MENDED)


def test_every_page_has_its_drill() -> None:
    followed = re.findall(r'= page\("(.+)"\)', Path(__file__).read_text("utf-8"))

    assert sorted(followed) == [each.path.stem for each in pages()]


def taken(hospital: Hospital, words: str) -> None:
    """Wait until the router works by a routes.yml that says this."""
    eventually(lambda: words in hospital.site.orthanc("routes").stdout, within=30, what=f"{words!r} in force")


@contextmanager
def small_disk(hospital: Hospital, storage: Path) -> Iterator[Callable[[], None]]:
    """Orthanc's images on a disk of 64 MiB that is almost full; what is given extends it."""
    aside = storage.with_name("aside")
    hospital.site.control("stop", "orthanc")
    storage.rename(aside)
    storage.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(storage)]
    mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0

    def extend() -> None:
        subprocess.run(["mount", "-o", "remount,size=8g", str(storage)], check=True)

    try:
        if not mounted:
            pytest.skip("file systems can be mounted by root only")
        shutil.copytree(aside, storage, dirs_exist_ok=True)
        free = shutil.disk_usage(storage).free
        (storage / "others").write_bytes(b"\0" * (free - 2 * 2**20))
        hospital.site.control("start", "orthanc")
        yield extend
    finally:
        hospital.site.control("stop", "orthanc")
        if mounted:
            (storage / "others").unlink(missing_ok=True)
            shutil.copytree(storage, aside, dirs_exist_ok=True)
            subprocess.run(["umount", str(storage)], check=True)
        storage.rmdir()
        aside.rename(storage)
        hospital.site.control("start", "orthanc")


def burn_down(site: DemoSite) -> None:
    """Only the repository and the controller's secrets are left."""
    site.shut_down()
    kept = {site.home / "secrets", site.home / "backups"}
    for path in [*site.home.iterdir(), *(site.home / "backups").iterdir()]:
        if path in kept or path.name == "repository":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
