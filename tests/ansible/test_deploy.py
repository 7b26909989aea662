"""The demo's inventory deployed for real, into a folder and on ports of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from tests.support.certificates import certified
from tests.support.demo_site import CHECKOUT, VENV, DemoSite, undeployed
from tests.support.network import accepts, eventually, free_port

from pacsops.settings import Settings

pytestmark = pytest.mark.timeout(400)  # a deployment starts eight services


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> DemoSite:
    """Nothing deployed yet."""
    return undeployed(tmp_path_factory.mktemp("deployed") / "site")


@pytest.fixture(scope="module")
def site(fresh: DemoSite) -> Iterator[DemoSite]:
    """Deployed once for all tests here."""
    check = fresh.play("site.yml", "--check", "--diff")
    assert check.returncode == 0, check.stdout[-6000:]
    assert not fresh.home.exists(), "a check run writes nothing"
    try:
        fresh.deploy_watched("--diff", "-vv")
        yield fresh
    finally:
        fresh.shut_down()


def test_every_service_runs_and_a_second_run_changes_nothing(site: DemoSite) -> None:
    before = site.processes()
    assert set(before) == {
        *("postgres", "orthanc", "router"),
        *("scanner", "mercure", "lpchrouter", "lpchtrouter", "modlink"),
    }

    assert site.deploy("--diff") == 0
    assert site.deploy("--check", "--diff") == 0
    assert site.processes() == before


def test_an_operator_reads_logs_and_stops_and_starts_services(site: DemoSite) -> None:
    lines = [
        json.loads(line) for line in site.orthanc("logs", "--no-follow", "--json", "-n", "500").stdout.splitlines()
    ]
    logged = {name: [line for line in lines if line["service"] == name] for name in ("postgres", "orthanc", "router")}
    for name, of_service in logged.items():
        assert of_service, f"{name} has said something"
        assert all(line["at"] and line["level"] for line in of_service), [
            line for line in of_service if not line["at"]
        ]
    assert "router_started" in {line["event"] for line in logged["router"]}
    before = site.processes()

    stopped = site.orthanc("stop", "modlink", "router", "--yes", "--json")
    assert [step["name"] for step in json.loads(stopped.stdout)["services"]] == ["modlink", "router"]
    assert set(before) - set(site.processes()) == {"modlink", "router"}
    started = site.orthanc("start", "--json")
    outcomes = {step["name"]: step["outcome"] for step in json.loads(started.stdout)["services"]}
    assert {name for name, outcome in outcomes.items() if outcome == "started"} == {"modlink", "router"}
    assert set(outcomes.values()) == {"started", "runs already"}
    assert set(site.processes()) == set(before)
    assert (site.home / "share" / "bash-completion" / "completions" / "orthanc").read_text()
    assert site.deploy("--diff") == 0


def test_a_supervisor_that_is_gone_is_started_with_all_its_services(site: DemoSite) -> None:
    """As after a restart of the host."""
    before = site.processes()
    site.shut_down()
    assert "❌ down" in site.orthanc("status").stdout

    started = site.orthanc("start")

    assert started.returncode == 0, started.stdout + started.stderr
    assert set(site.processes()) == set(before)
    assert site.orthanc("status", "--json").returncode in {0, 1}


def test_a_study_makes_the_whole_round_and_a_destination_that_was_down_gets_its_share(site: DemoSite) -> None:
    told = subprocess.run(
        [str(VENV / "python"), "demo/story.py", "--demo", str(site.home)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr


def test_no_secret_is_shown_or_on_a_command_line_or_readable_by_others(site: DemoSite) -> None:
    secrets = site.secrets()
    assert len(set(secrets)) == 4
    assert any("bin/supervisord" in line for line in site.command_lines), "the watching saw what it should"
    for secret in secrets:
        assert secret not in site.shown
        assert not any(secret in line for line in site.command_lines)
    for path in site.home.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077 and "postgres" not in path.parts:
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path


def test_the_operators_command_knows_its_site(site: DemoSite) -> None:
    names = {each["name"] for each in json.loads(site.orthanc("destinations", "--json").stdout)["destinations"]}

    assert {"MERCURE", "LPCHROUTER", "LPCHTROUTER", "MODLINK"} <= names
    assert site.orthanc("routes", "--validate").returncode == 0


def test_an_unknown_system_is_refused_and_a_known_one_heard(site: DemoSite) -> None:
    def accepted(calling_aet: str) -> bool:
        ae = AE(ae_title=calling_aet)
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", site.ports["orthanc_dicom_port"], ae_title="ORTHANC_DEMO")
        if not association.is_established:
            return False
        answer = association.send_c_echo()
        association.release()
        return "Status" in answer and answer.Status == 0x0000

    assert accepted("CR_ROOM1")
    assert not accepted("STRANGER")


def test_a_changed_setting_restarts_its_service_alone(site: DemoSite) -> None:
    before = site.processes()

    assert site.deploy(orthanc_stable_age=3) > 0

    after = site.processes()
    assert {name for name in before if before[name] != after[name]} == {"orthanc"}


def test_new_secrets_are_taken_up_with_one_restart_and_the_old_ones_are_gone(site: DemoSite) -> None:
    """Orthanc and the router come back with them; nobody is left with the old ones."""
    repository = (site.home / "secrets" / "backup").read_text()
    old, before, log = site.secrets(but="backup"), site.processes(), site.spawned()
    previous = site.home / "releases" / "previous"
    previous.mkdir(parents=True)
    subprocess.run(["tar", "--create", "--file=files.tar", "-C", str(site.home), ".env"], cwd=previous, check=True)
    (previous / "release.json").write_text('{"version": "0.1.0"}')

    renewed = site.play("playbooks/secrets.yml", "--diff", "-v")

    assert renewed.returncode == 0, renewed.stdout[-6000:]
    assert "Renewed, and the old ones are gone: database, orthanc, orthanc_database" in renewed.stdout
    assert "has forgotten 0.1.0" in renewed.stdout
    assert not previous.exists(), "it had the old ones"
    new = site.secrets(but="backup")
    assert (site.home / "secrets" / "backup").read_text() == repository, "what was stored with it is read with it"
    assert len(new) == len(old)
    assert not set(new) & set(old)
    assert not any(secret in renewed.stdout + renewed.stderr for secret in [*old, *new])
    after = site.processes()
    assert {name for name in before if before[name] != after[name]} == {"orthanc", "router"}
    assert sorted(site.spawned()[len(log) :]) == ["orthanc", "router"], "each restarted once"
    assert site.orthanc("status", "--json").returncode in {0, 1}


def test_a_renewal_that_was_cut_short_is_finished_and_not_begun_again(site: DemoSite) -> None:
    """Cut short after the old secret was put aside and the new one made."""
    folder = site.home / "secrets"
    (folder / "database").rename(folder / "database.previous")
    (folder / "database").write_text("made-by-the-run-that-was-cut-short\n")
    (folder / "database").chmod(0o600)

    finished = site.play("playbooks/secrets.yml", rotate="database")

    assert finished.returncode == 0, finished.stdout[-6000:]
    assert (folder / "database").read_text() == "made-by-the-run-that-was-cut-short\n"
    assert not (folder / "database.previous").exists()
    assert site.orthanc("status", "--json").returncode in {0, 1}


def test_after_a_renewal_there_is_nothing_to_go_back_to(site: DemoSite) -> None:
    before = site.processes()

    back = site.play("playbooks/rollback.yml")

    assert back.returncode != 0
    assert "has nothing to go back to: 0.1.0" in back.stdout, back.stdout[-4000:]
    assert site.processes() == before


def test_a_controller_without_the_sites_secrets_is_refused_and_makes_none(site: DemoSite, tmp_path: Path) -> None:
    refused = site.play("site.yml", secrets_folder=str(tmp_path / "secrets"))

    assert refused.returncode != 0
    assert "this controller has none of its passwords" in refused.stdout
    assert not (tmp_path / "secrets").exists()


def test_doctor_names_what_is_down_and_the_next_run_starts_it(site: DemoSite) -> None:
    """One table of what was found, whoever found it; what can wait fails nothing unless it is told to."""
    healthy = site.play("playbooks/doctor.yml")
    assert healthy.returncode == 0, healthy.stdout[-4000:]
    assert re.search(r"warning +demo +backup +No backup was ever made", healthy.stdout)
    assert "changed=0" in healthy.stdout
    assert site.play("playbooks/doctor.yml", doctor_fail_on="warning").returncode != 0
    site.control("stop", "modlink")

    ill = site.play("playbooks/doctor.yml")
    site.deploy()

    assert ill.returncode != 0
    assert re.search(r"error +demo +services +MODLINK does not run", ill.stdout)
    assert re.search(r"error +demo +destination-echo +MODLINK .+ nothing listens", ill.stdout)
    assert "modlink" in site.processes()


def test_doctor_tells_what_differs_from_the_inventory(site: DemoSite, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yml"
    routes.write_text((site.home / "config" / "routes.yml").read_text() + "# changed\n")
    peers = [{"name": "MODLINK", "aet": "MODLINK", "host": "127.0.0.1", "port": 4242}]

    told = site.play("playbooks/doctor.yml", router_routes_source=str(routes), orthanc_modalities=peers)

    assert told.returncode == 0, told.stdout[-4000:]
    assert "is not the routes.yml of the inventory" in told.stdout
    assert "MODLINK is not in Orthanc as the inventory says" in told.stdout


def test_doctor_tells_of_a_host_that_cannot_be_reached_beside_the_others(site: DemoSite, tmp_path: Path) -> None:
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    (tmp_path / "away.json").write_text(json.dumps({"all": {"hosts": {"away": away}}}))

    told = site.play("playbooks/doctor.yml", "-i", str(tmp_path / "away.json"))

    assert told.returncode != 0
    assert re.search(r"error +away +host +it cannot be reached", told.stdout)
    assert re.search(r"warning +demo +backup", told.stdout)


def test_routes_that_are_wrong_are_not_put_in_place(site: DemoSite, tmp_path: Path) -> None:
    in_force = (site.home / "config" / "routes.yml").read_text()
    routes = tmp_path / "routes.yml"
    routes.write_text(in_force.replace("send: instance", "send: instanse"))

    refused = site.play("playbooks/routes.yml", router_routes_source=str(routes))

    assert refused.returncode != 0
    assert "instanse" in refused.stdout
    assert (site.home / "config" / "routes.yml").read_text() == in_force


def test_new_routes_are_taken_without_a_restart(site: DemoSite, tmp_path: Path) -> None:
    before = site.processes()
    routes = tmp_path / "routes.yml"
    routes.write_text((site.home / "config" / "routes.yml").read_text().replace("priority: 10\n", "priority: 11\n"))

    shown = site.play("playbooks/routes.yml", "--check", "--diff", router_routes_source=str(routes))
    assert shown.returncode == 0, shown.stdout[-4000:]
    assert "No delivery of the studies looked at is gained or lost." in shown.stdout
    done = site.play("playbooks/routes.yml", "--diff", router_routes_source=str(routes))

    assert done.returncode == 0, done.stdout[-4000:]
    assert "+    priority: 11" in done.stdout
    taken = json.loads(site.orthanc("routes", "--json").stdout)
    assert taken["routes"][0]["priority"] == 11
    assert site.processes() == before


def test_a_repository_password_that_is_not_the_hosts_is_refused(site: DemoSite) -> None:
    secret = site.home / "secrets" / "backup"
    right = secret.read_text()
    secret.write_text("made-by-another-controller\n")

    refused = site.play("site.yml")
    secret.write_text(right)

    assert refused.returncode != 0
    assert "were made with another password" in refused.stdout
    assert (site.home / "config" / "backup.password").read_text() == right.strip()


def test_a_site_that_burned_down_comes_back_by_a_deployment_and_one_playbook(site: DemoSite) -> None:
    """Only its repository and its controller's secrets are left."""
    before = site.orthanc("status", "--json")
    files = _digests(site.home / "data" / "dicom")
    made = site.play("playbooks/backup.yml")
    assert made.returncode == 0, made.stdout[-4000:]
    proved = json.loads(site.orthanc("backup", "verify", "--json").stdout)
    _burn_down(site)
    site.deploy()

    restored = site.play("playbooks/restore.yml", backup="latest")

    assert proved["ok"]
    assert proved["hashed_instances"] > 0
    assert restored.returncode == 0, restored.stdout[-4000:]
    assert _digests(site.home / "data" / "dicom") == files != {}
    after = json.loads(site.orthanc("status", "--json").stdout)
    assert after["storage"]["studies"] == json.loads(before.stdout)["storage"]["studies"] > 0
    assert after["routing"]["completed"] == json.loads(before.stdout)["routing"]["completed"]


def test_the_router_has_a_certificate_where_it_sends_over_tls_itself(site: DemoSite, tmp_path: Path) -> None:
    archive = certified(tmp_path / "archive", "archive")
    kept = tmp_path / "kept"
    kept.mkdir()
    certificates = site.home / "config" / "certificates"
    demo = yaml.safe_load((CHECKOUT / "inventories/demo/group_vars/all/vars.yml").read_text())
    port = free_port()
    over_tls = {"name": "ARCHIVE", "aet": "ARCHIVE", "host": "127.0.0.1", "port": port}
    over_tls |= {"use_dicom_tls": True, "transport": "direct"}
    wanted = {
        "orthanc_modalities": [*demo["orthanc_modalities"], over_tls],
        "certificates_trusted": [str(archive.authority)],
    }

    site.deploy(**wanted)

    known = Settings.load(site.home / ".env")
    assert known.router_certificate == certificates / "router.crt"
    assert known.router_key is not None
    assert known.router_key.stat().st_mode & 0o777 == 0o600
    tls = ["+tls", str(archive.key), str(archive.certificate), "+cf", str(certificates / "ca.crt")]
    with subprocess.Popen(["/usr/bin/storescp", "-aet", "ARCHIVE", "-od", str(kept), *tls, str(port)]) as receiver:
        try:
            eventually(lambda: accepts(port), what="storescp listening")
            assert site.orthanc("test-destination", "ARCHIVE").returncode == 0
            sample = Path(str(get_testdata_file("CT_small.dcm")))
            to = ["-aet", "CR_ROOM1", "-aec", known.orthanc_aet, "127.0.0.1", str(known.orthanc_dicom_port)]
            subprocess.run(["/usr/bin/storescu", *to, str(sample)], check=True, timeout=60)
            sent = site.orthanc("send", str(dcmread(sample).StudyInstanceUID), "ARCHIVE", "--yes")
            assert sent.returncode == 0, sent.stdout + sent.stderr
            eventually(lambda: list(kept.glob("CT.*")), within=60, what="the image at ARCHIVE")
        finally:
            receiver.terminate()
    assert site.deploy(**wanted) == 0


def _burn_down(site: DemoSite) -> None:
    site.shut_down()
    kept = {site.home / "secrets", site.home / "backups"}
    for path in [*site.home.iterdir(), *(site.home / "backups").iterdir()]:
        if path in kept or path.name == "repository":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _digests(storage: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in storage.rglob("*-*") if path.is_file()}
