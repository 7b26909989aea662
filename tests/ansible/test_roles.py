"""What holds between the files of the roles, the catalogue and the modules."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ansible.conftest import CHECKOUT

ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
CATALOGUE = yaml.safe_load((CHECKOUT / "roles" / "runtime" / "vars" / "main" / "catalogue.yml").read_text())[
    "_runtime_catalogue"
]
REQUIRED = {
    *("group", "title", "user", "command", "ports", "listen", "volumes", "configuration", "health", "after", "stop"),
    *("memory", "networks", "container", "without", "log"),
}
OPTIONAL = {"environment", "secrets", "files"}
MODULES = sorted((CHECKOUT / "library").glob("*.py"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def specification(role: str) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = load(CHECKOUT / "roles" / role / "meta" / "argument_specs.yml")[
        "argument_specs"
    ]["main"]["options"]
    return options


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_has_a_default_and_a_specification_that_agree(role: str) -> None:
    defaults = load(CHECKOUT / "roles" / role / "defaults" / "main.yml")
    options = specification(role)

    assert set(defaults) == set(options)
    for name, value in defaults.items():
        computed = isinstance(value, str) and "{{" in value
        assert ("default" in options[name]) == (not computed), f"{name}: a default in one place only"
        if not computed:
            assert options[name]["default"] == value, name


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_explained(role: str) -> None:
    lines = (CHECKOUT / "roles" / role / "defaults" / "main.yml").read_text().splitlines()
    for block in "\n".join(lines[1:]).strip().split("\n\n"):
        assert block.startswith("#"), f"no comment above: {block.splitlines()[0]}"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_described_on_one_screen(role: str) -> None:
    text = (CHECKOUT / "roles" / role / "README.md").read_text()
    assert len(text.splitlines()) <= 40
    for task_file in (CHECKOUT / "roles" / role / "tasks").glob("*.yml"):
        assert task_file.stem == "main" or f"`{task_file.name}`" in text, f"{task_file.name} is not described"


def test_the_catalogue_starts_services_after_those_they_need() -> None:
    started: set[str] = set()
    for name, service in CATALOGUE.items():
        assert set(service["after"]) <= started, name
        started.add(name)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_service_is_described_for_every_runtime(name: str) -> None:
    service = CATALOGUE[name]
    described = load(CHECKOUT / "roles" / "runtime" / "vars" / "main" / "places.yml")

    assert service["group"] in ROLES
    assert REQUIRED <= set(service) <= REQUIRED | OPTIONAL
    assert {"image", "command", "health"} <= set(service["container"])
    assert service["user"] in described["_runtime_numbers"]
    assert service["user"] in specification("runtime")["runtime_accounts"]["default"]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_documents_each_argument_it_takes(module: Path) -> None:
    """By its argument_spec as Ansible sees it, at every level."""
    documented = documentation(module, "DOCUMENTATION")
    assert documented["module"] == module.stem
    assert documentation(module, "EXAMPLES")
    assert documentation(module, "RETURN")
    assert same_shape(documented["options"], argument_spec(module)) == []


def documentation(module: Path, name: str) -> Any:
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module.name} has no {name}")


class _Specified(Exception):
    """Carries an argument_spec out of a module's main()."""


def argument_spec(module: Path) -> dict[str, Any]:
    import importlib.util  # noqa: PLC0415
    from unittest import mock  # noqa: PLC0415

    spec = importlib.util.spec_from_file_location(module.stem, module)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    with mock.patch.object(loaded, "AnsibleModule", side_effect=_Specified) as built, pytest.raises(_Specified):
        loaded.main()
    specified: dict[str, Any] = built.call_args.kwargs["argument_spec"]
    return specified


def same_shape(documented: dict[str, Any], specified: dict[str, Any], where: str = "") -> list[str]:
    """Differences in names, types, defaults and choices."""
    found = [f"{where}{name}: in one only" for name in set(documented) ^ set(specified)]
    for name in set(documented) & set(specified):
        told, taken = documented[name], specified[name]
        for key in ("type", "elements", "required", "default", "choices"):
            if told.get(key) != taken.get(key):
                found.append(f"{where}{name}: {key} is {taken.get(key)!r}, documented as {told.get(key)!r}")
        found += same_shape(told.get("suboptions", {}), taken.get("options", {}), f"{where}{name}.")
    return found


def test_an_upgrade_brings_up_what_a_deployment_does_in_the_same_order() -> None:
    """upgrade.yml has the roles as tasks, so that one that fails is the beginning of the way back."""
    deployed = [each["role"] for each in load(CHECKOUT / "playbooks" / "deploy.yml")[0]["roles"]]
    (play,) = [each for each in load(CHECKOUT / "playbooks" / "upgrade.yml") if "try it" in each["name"]]
    imports = [task.get("ansible.builtin.import_role", {}) for task in play["tasks"][0]["block"]]

    upgraded = [each["name"] for each in imports if each and "tasks_from" not in each]

    assert upgraded == [role for role in deployed if role != "preflight"]
