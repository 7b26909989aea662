"""Starting, stopping and asking: a real supervisor, and the command lines of the runtimes that are not here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.services import Programs, SupervisedHost, a_host, a_service

from pacsops.errors import HostNotDescribed, NeedsRoot, RuntimeRefused, UnknownService
from pacsops.services import Host, State, read_host, runtime_of
from pacsops.services.orders import Step, start, stop
from pacsops.settings import Settings

SETTINGS = Settings.load(environ={})


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[SupervisedHost]:
    """Nothing runs yet, not even the supervisor."""
    host = SupervisedHost(tmp_path)
    yield host
    subprocess.run([*host.control, "shutdown"], capture_output=True, check=False, timeout=60)


def outcomes(steps: Iterator[Step]) -> list[tuple[str, str]]:
    return [(step.service.name, step.outcome) for step in steps]


def conditions(host: Host) -> dict[str, str]:
    return {name: state.condition for name, state in runtime_of(host).states().items()}


def test_services_are_started_in_their_order_and_stopped_in_the_other(supervised: SupervisedHost) -> None:
    host = read_host(supervised.file)
    runtime = runtime_of(host)
    assert conditions(host) == {"postgres": "stopped", "router": "stopped"}

    assert [name for name, _ in outcomes(start(host, runtime, SETTINGS, host.named(())))] == ["postgres", "router"]
    assert conditions(host) == {"postgres": "running", "router": "running"}
    assert outcomes(start(host, runtime, SETTINGS, host.named(()))) == [
        ("postgres", "runs already"),
        ("router", "runs already"),
    ]
    assert outcomes(stop(host, runtime, host.named(()))) == [("router", "stopped"), ("postgres", "stopped")]
    assert outcomes(stop(host, runtime, host.named(["router"]))) == [("router", "stopped already")]
    assert conditions(host) == {"postgres": "stopped", "router": "stopped"}


def test_what_a_service_needs_is_started_before_it(supervised: SupervisedHost) -> None:
    host = read_host(supervised.file)
    runtime = runtime_of(host)
    outcomes(start(host, runtime, SETTINGS, host.named(())))
    outcomes(stop(host, runtime, host.named(())))

    assert outcomes(start(host, runtime, SETTINGS, host.named(["router"]))) == [
        ("postgres", "started"),
        ("router", "started"),
    ]


def test_a_service_that_does_not_serve_keeps_those_that_need_it_from_being_started(
    supervised: SupervisedHost,
) -> None:
    supervised.write(command=["/bin/sh", "-c", "echo no cluster >&2; exit 3"])
    host = read_host(supervised.file)
    steps = list(start(host, runtime_of(host), SETTINGS, host.named(())))

    assert [(step.service.name, step.outcome) for step in steps] == [
        ("postgres", "does not serve"),
        ("router", "not started"),
    ]
    assert "no cluster" in str(steps[0].trouble)
    assert steps[1].trouble == "PostgreSQL does not serve"


def test_services_are_named_by_name_or_title(supervised: SupervisedHost) -> None:
    host = read_host(supervised.file)

    assert [service.name for service in host.named(["ROUTER", "postgresql"])] == ["postgres", "router"]
    with pytest.raises(UnknownService, match="ohif") as unknown:
        host.named(["ohif"])
    assert "postgres, router" in str(unknown.value.hint)


@pytest.mark.parametrize("content", ["", "[]", '{"runtime": "compose"}'])
def test_a_host_that_is_not_described_says_who_describes_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "services.json"
    file.write_text(content)

    for path in (file, tmp_path / "absent.json"):
        with pytest.raises(HostNotDescribed) as unknown:
            read_host(path)
        assert "site.yml" in str(unknown.value.hint)


# ── runtimes that are not here ───────────────────────────────────────────────────────────────────────────────


UNITS = a_host(
    "systemd",
    a_service("postgres", unit="pacsops-postgres.service"),
    a_service("orthanc", unit="pacsops-orthanc.service"),
    a_service("router", unit="pacsops-router.service"),
    control=["systemctl"],
)
# systemctl show of systemd 252: one that runs, one that crashes at each start, one that is not there.
SHOWN = """\
Result=success
Id=pacsops-postgres.service
LoadState=loaded
ActiveState=active
SubState=running

Result=exit-code
Id=pacsops-orthanc.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart

Result=success
Id=pacsops-router.service
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


def test_how_units_stand(programs: Programs) -> None:
    programs.add("systemctl", prints=SHOWN)

    assert runtime_of(UNITS).states() == {
        "postgres": State("running", "active (running)"),
        "orthanc": State("failed", "it ends as soon as it is started (exit-code)"),
        "router": State("stopped", "systemd does not know the unit"),
    }
    assert programs.calls("systemctl") == [
        "show --property=Id,LoadState,ActiveState,SubState,Result"
        " pacsops-postgres.service pacsops-orthanc.service pacsops-router.service"
    ]


def test_units_are_started_and_stopped_by_name(programs: Programs) -> None:
    programs.add("systemctl")
    runtime = runtime_of(UNITS)
    runtime.start(UNITS.services["router"])
    runtime.stop(UNITS.services["router"])

    assert programs.calls("systemctl") == [
        "reset-failed pacsops-router.service",
        "start pacsops-router.service",
        "stop pacsops-router.service",
    ]


def test_systemd_that_wants_root_says_so(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["orthanc", "stop", "router"])
    said = "Failed to stop pacsops-router.service: Interactive authentication required."
    programs.add("systemctl", complains=said, code=4)

    with pytest.raises(NeedsRoot) as refused:
        runtime_of(UNITS).stop(UNITS.services["router"])
    assert refused.value.hint == "sudo orthanc stop router"


CONTAINERS = a_host(
    "compose",
    a_service("postgres"),
    a_service("orthanc"),
    a_service("router"),
    a_service("viewer"),
    control=["docker", "compose", "--file", "/opt/orthanc/compose.yml"],
)
# docker compose ps of Compose 2.32, shortened: one object a line.
LISTED = [
    {"Service": "postgres", "State": "running", "Health": "healthy", "ExitCode": 0, "Status": "Up 3 days (healthy)"},
    {"Service": "orthanc", "State": "running", "Health": "starting", "ExitCode": 0, "Status": "Up 2 s (starting)"},
    {"Service": "router", "State": "exited", "Health": "", "ExitCode": 1, "Status": "Exited (1) 2 minutes ago"},
]


@pytest.mark.parametrize(
    "printed",
    ["".join(f"{json.dumps(each)}\n" for each in LISTED), json.dumps(LISTED)],
    ids=["an object a line", "one list"],
)
def test_how_containers_stand(programs: Programs, printed: str) -> None:
    programs.add("docker", prints=printed)

    assert runtime_of(CONTAINERS).states() == {
        "postgres": State("running", "Up 3 days (healthy)", healthy=True),
        "orthanc": State("starting", "Up 2 s (starting)", healthy=False),
        "router": State("failed", "Exited (1) 2 minutes ago", healthy=False),
        "viewer": State("stopped", "there is no container"),
    }
    assert programs.calls("docker") == ["compose --file /opt/orthanc/compose.yml ps --all --format json"]


def test_containers_are_started_as_they_are_and_stopped(programs: Programs) -> None:
    programs.add("docker")
    runtime = runtime_of(CONTAINERS)
    runtime.start(CONTAINERS.services["router"])
    runtime.stop(CONTAINERS.services["router"])

    assert programs.calls("docker") == [
        "compose --file /opt/orthanc/compose.yml up --detach --no-recreate --no-build --no-deps router",
        "compose --file /opt/orthanc/compose.yml stop router",
    ]


def test_passwords_that_only_root_may_read_mean_root(programs: Programs) -> None:
    programs.add(
        "docker",
        complains="open /opt/orthanc/config/services/orthanc.env: permission denied",
        code=14,
    )

    with pytest.raises(NeedsRoot):
        runtime_of(CONTAINERS).states()


def test_a_runtime_that_is_not_installed_is_named() -> None:
    host = a_host("compose", a_service("router"), control=["/nowhere/docker"])

    with pytest.raises(RuntimeRefused, match="/nowhere/docker"):
        runtime_of(host).states()
