"""Every role has the same anatomy, and its defaults and argument_specs agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.modules import ROOT

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
# The others look at hosts, change what all of them share, speak to what is in front of them, or
# make things in AWS: those have main.yml, read.yml and absent.yml.
HOST_ROLES = [
    role
    for role in ROLES
    if role.name not in {"mms_verify", "mms_fleet", "mms_balancer"}
    and not role.name.startswith("aws_")
]


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def options(role: Path) -> dict[str, dict[str, Any]]:
    specs = read(role / "meta" / "argument_specs.yml")
    found: dict[str, dict[str, Any]] = specs["argument_specs"]["main"]["options"]
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_name_the_same_variables(role: Path) -> None:
    assert list(read(role / "defaults" / "main.yml")) == list(options(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_of_the_argument_specs(role: Path) -> None:
    defaults = read(role / "defaults" / "main.yml")
    documented = {
        name: option["default"] for name, option in options(role).items() if "default" in option
    }
    assert {name: defaults[name] for name in documented} == documented


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_bear_the_name_of_the_role_and_a_comment(role: Path) -> None:
    text = (role / "defaults" / "main.yml").read_text(encoding="utf-8")
    assert all(name.startswith(f"{role.name}_") for name in options(role))
    for paragraph in text.removeprefix("---\n").split("\n\n"):
        assert paragraph.startswith("# "), paragraph


@pytest.mark.parametrize("role", HOST_ROLES, ids=lambda role: role.name)
def test_stages_have_their_files_and_tags(role: Path) -> None:
    stages = ["preflight", "install", "configure", "run"]
    main = read(role / "tasks" / "main.yml")
    assert [task["ansible.builtin.import_tasks"] for task in main] == [f"{s}.yml" for s in stages]
    for task, stage in zip(main, stages, strict=True):
        assert f"{role.name}_{stage}" in task["tags"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_registered_names_are_internal_to_the_role(role: Path) -> None:
    for file in role.glob("*/*.yml"):
        for name in re.findall(r"register: (\S+)", file.read_text(encoding="utf-8")):
            assert name.startswith((f"__{role.name}_", f"{role.name}_")), f"{file}: {name}"


def included(tasks: list[dict[str, Any]], role: str) -> Iterator[tuple[str, str]]:
    """Yield role and task file of each include or import; names that Jinja makes are left out."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from included(task.get(part, []), role)
        for action in ("include_tasks", "import_tasks"):
            given = task.get(f"ansible.builtin.{action}")
            if given:
                yield role, given if isinstance(given, str) else given["file"]
        for action in ("include_role", "import_role"):
            given = task.get(f"ansible.builtin.{action}")
            if given and "{{" not in given["name"]:
                yield given["name"], given.get("tasks_from", "main.yml")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_included_task_files_exist(role: Path) -> None:
    for file in role.glob("tasks/*.yml"):
        for name, tasks in included(read(file), role.name):
            assert "{{" in tasks or (ROOT / "roles" / name / "tasks" / tasks).exists(), file


def test_task_files_that_playbooks_include_exist() -> None:
    found = [
        each
        for playbook in (ROOT / "playbooks").glob("*.yml")
        for play in read(playbook)
        for each in included(play.get("tasks", []), "")
    ]
    files = [
        ROOT / "roles" / role / "tasks" / tasks if role else ROOT / "playbooks" / tasks
        for role, tasks in found
    ]
    assert files
    assert [file for file in files if not file.exists()] == []
