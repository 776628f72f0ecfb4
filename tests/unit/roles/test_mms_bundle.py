"""The bundle: complete, the same bytes for the same inputs, true checksums, nothing else in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import ROOT, load

bundles = load("aws_bundle", "mms_bundle")
wheelhouses = load("mms_runtime", "mms_wheelhouse")


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    """Return inputs with a project of small files and two wheelhouses."""
    project = tmp_path / "project"
    for part in bundles.PROJECT:
        if "." in part or part == "LICENSE":
            (project / part).parent.mkdir(parents=True, exist_ok=True)
            (project / part).write_text(f"{part}\n")
        else:
            (project / part / "__pycache__").mkdir(parents=True)
            (project / part / "a.txt").write_text(f"{part}\n")
            (project / part / "__pycache__" / "a.pyc").write_text("old")
    (project / "id_ed25519").write_text("secret")
    found = {}
    for name in ("wheelhouse", "joining"):
        directory = tmp_path / name
        directory.mkdir()
        archive = directory / "1.0-0123abcd.tar"
        archive.write_text(name)
        requirements = project / "requirements" / "a.txt"
        found[name] = {"version": "1.0-0123abcd", "archive": str(archive), "pip": "pip.whl"}
        state = {
            **found[name],
            "inputs": wheelhouses.inputs_digest(project, requirements),
            "sha256": wheelhouses.sha256(archive),
        }
        (directory / "wheelhouse.json").write_text(json.dumps(state))
    return {
        "project": str(project), "destination": str(tmp_path / "bundle"),
        "variables": {"efs_mount_source": "fs-1:/"}, "start": "#!/bin/bash\n", **found,
    }  # fmt: skip


def unpack(parameters: dict[str, Any], to: Path) -> dict[str, str]:
    _, made = bundles.ensure(parameters)
    to.mkdir(parents=True)
    # As a host does that starts by itself.
    subprocess.run(
        ["tar", "-xzf", made["archive"], "-C", to, "--no-same-owner"], check=True, timeout=20
    )
    found: dict[str, str] = made
    return found


def test_checksums_are_those_that_sha256sum_takes(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    made = unpack(parameters, tmp_path / "host")
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path / "host", check=True, timeout=20)
    assert hashlib.sha256(Path(made["archive"]).read_bytes()).hexdigest() == made["sha256"]
    assert made["name"] == f"mms-1.0-0123abcd-{made['sha256'][:8]}.tar.gz"
    listed = {line.split("  ")[1] for line in (tmp_path / "host/SHA256SUMS").read_text().split("\n")
              if line}  # fmt: skip
    there = {
        str(file.relative_to(tmp_path / "host"))
        for file in (tmp_path / "host").rglob("*")
        if file.is_file()
    }
    assert there == listed | {"SHA256SUMS"}
    assert not any("__pycache__" in name or "id_ed25519" in name for name in there)
    assert json.loads((tmp_path / "host/variables.json").read_text()) == parameters["variables"]
    assert (tmp_path / "host/start.sh").stat().st_mode & 0o100


def test_the_same_inputs_are_the_same_bundle(
    parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, first = bundles.ensure(parameters)
    # An hour later, as far as the archive's format knows the time.
    now = time.time()
    monkeypatch.setattr(bundles.gzip.time, "time", lambda: now + 3600)
    for file in Path(parameters["project"]).rglob("*"):
        file.touch()
    assert changed
    assert bundles.ensure(parameters) == (False, first)


def test_another_input_is_another_bundle_and_replaces_it(parameters: dict[str, Any]) -> None:
    _, first = bundles.ensure(parameters)
    parameters["variables"] = {"efs_mount_source": "fs-2:/"}
    changed, second = bundles.ensure(parameters)
    assert changed
    assert first["name"] != second["name"]
    assert [file.name for file in Path(parameters["destination"]).iterdir()] == [second["name"]]


def test_a_damaged_bundle_is_made_again(parameters: dict[str, Any]) -> None:
    _, made = bundles.ensure(parameters)
    Path(made["archive"]).write_bytes(b"half")
    assert bundles.ensure(parameters) == (True, made)


def test_the_host_takes_the_wheelhouse_as_built(
    parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an index nor a build is needed there: the same module finds its work done."""
    host = tmp_path / "host"
    monkeypatch.setattr(bundles, "ROOT_ON_HOST", str(host))
    unpack(parameters, host)
    requirements = host / "requirements" / "a.txt"
    changed, found = wheelhouses.ensure(host, requirements, host / "build/wheelhouse", 1)
    assert not changed
    assert found["archive"] == str(host / "build/wheelhouse/1.0-0123abcd.tar")


@pytest.mark.parametrize("missing", ["roles", "pyproject.toml"])
def test_a_part_that_is_missing_is_named(parameters: dict[str, Any], missing: str) -> None:
    path = Path(parameters["project"]) / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(bundles.BundleError, match=rf"{missing} is missing. Fix: "):
        bundles.ensure(parameters)
    assert not Path(parameters["destination"]).exists()


def test_the_project_has_all_parts() -> None:
    names = {name for name, _ in bundles.project_files(ROOT)}
    assert {
        "playbooks/join.yml",
        "requirements/runtime.txt",
        "roles/efs_mount/tasks/main.yml",
    } <= names
    assert not any(name.startswith(("build/", ".venv/", "inventory/")) for name in names)
