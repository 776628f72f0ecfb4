#!/usr/bin/python
"""Ansible module: build the wheelhouse of the hosts. Runs on the controller."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_wheelhouse
short_description: Build the wheelhouse from which hosts install
description:
  - Downloads the hash-locked wheels, builds the wheel of the project, and packs all into one tar
    archive.
  - Does nothing if the inputs (requirements and project files) are those of the last build.
  - Changes only the controller, so it also runs in check mode.
options:
  project:
    description: Root of the project, with C(pyproject.toml).
    type: path
    required: true
  requirements:
    description: Hash-locked requirements.
    type: path
    required: true
  destination:
    description: Directory of the archive.
    type: path
    required: true
  timeout_s:
    description: Time limit of each step (download, build), in seconds.
    type: int
    default: 900
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Build the wheelhouse
  mms_wheelhouse:
    project: "{{ role_path }}/../.."
    requirements: "{{ role_path }}/../../requirements/runtime.txt"
    destination: "{{ role_path }}/../../build/wheelhouse"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
version:
  description: C(<project version>-<8 hex digits of a checksum over all wheels>).
  returned: success
  type: str
archive:
  description: Path of the tar archive on the controller.
  returned: success
  type: str
pip:
  description: File name of the wheel of pip in the archive.
  returned: success
  type: str
"""

STATE_FILE = "wheelhouse.json"
PROJECT_INPUTS = ("pyproject.toml", "README.md", "LICENSE", "mms_server", "mms")


class WheelhouseError(Exception):
    """The wheelhouse cannot be built; the message names the cause and the fix."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def project_files(project: Path) -> list[Path]:
    """Return the input files of the wheel of the project, sorted."""
    files = []
    for name in PROJECT_INPUTS:
        path = project / name
        if path.is_dir():
            found = (item for item in path.rglob("*") if "__pycache__" not in item.parts)
            files += [item for item in found if item.is_file()]
        elif path.is_file():
            files.append(path)
    return sorted(files)


def inputs_digest(project: Path, requirements: Path) -> str:
    """Return a digest over all inputs of the wheelhouse."""
    digest = hashlib.sha256(f"requirements {sha256(requirements)}\n".encode())
    for file in project_files(project):
        digest.update(f"{file.relative_to(project)} {sha256(file)}\n".encode())
    return digest.hexdigest()


def wheel_name(file: Path) -> tuple[str, str]:
    """Return the project name and the version in the file name of a wheel."""
    match = re.fullmatch(r"([^-]+)-([^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl", file.name)
    if match is None:
        message = f"{file.name} is not the name of a wheel. Fix: remove it and run again."
        raise WheelhouseError(message)
    return match[1].replace("_", "-"), match[2]


def requirements_text(wheels: list[Path]) -> str:
    """Return requirements for exactly these wheels, each with its hash."""
    lines = []
    for wheel in wheels:
        name, version = wheel_name(wheel)
        lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel)}\n")
    return "".join(lines)


def version_of(project_version: str, sums: str) -> str:
    """Return the version of a wheelhouse; equal versions are equal software."""
    return f"{project_version}-{hashlib.sha256(sums.encode()).hexdigest()[:8]}"


def pack(files: list[Path], archive: Path) -> None:
    """Write a tar archive; the same files give the same bytes."""
    temporary = archive.with_name(f".{archive.name}.tmp")
    with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for file in sorted(files, key=lambda item: item.name):
            info = tarfile.TarInfo(file.name)
            info.size = file.stat().st_size
            info.mode = 0o644
            with file.open("rb") as stream:
                tar.addfile(info, stream)
    temporary.replace(archive)


def run_step(command: list[str], cwd: Path, timeout_s: int, fix: str) -> None:
    """Run one command.

    Raises:
        WheelhouseError: the command failed or took too long; the message has its last lines.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1577836800"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, timeout=timeout_s, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(command)}` took more than {timeout_s} s. Fix: {fix}"
        raise WheelhouseError(message) from error
    if done.returncode:
        tail = " | ".join(done.stdout.strip().splitlines()[-6:])
        message = f"`{' '.join(command)}` ended with {done.returncode}: {tail} Fix: {fix}"
        raise WheelhouseError(message)


def download(project: Path, requirements: Path, destination: Path, timeout_s: int) -> Path:
    """Return a directory with the locked wheels; a complete directory is reused."""
    ready = destination / f"downloads-{sha256(requirements)[:16]}"
    if ready.is_dir():
        return ready
    with tempfile.TemporaryDirectory(dir=destination) as name:
        wheels = Path(name) / "wheels"
        run_step(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--only-binary=:all:", "--require-hashes", f"--dest={wheels}",
             f"--requirement={requirements}"],
            project, timeout_s,
            "check that the package index (pip config list) is reachable and has these versions.",
        )  # fmt: skip
        wheels.replace(ready)
    return ready


def build(project: Path, requirements: Path, destination: Path, timeout_s: int) -> dict[str, str]:
    """Build the archive and return the result that ``RETURN`` describes."""
    locked = sorted(download(project, requirements, destination, timeout_s).glob("*.whl"))
    with tempfile.TemporaryDirectory(dir=destination) as name:
        run_step(
            [sys.executable, "-m", "hatchling", "build", "--target=wheel", f"--directory={name}"],
            project, timeout_s, "run `make venv`, then run the command by hand.",
        )  # fmt: skip
        own = sorted(Path(name).glob("*.whl"))
        if len(own) != 1:
            message = f"hatchling built {len(own)} wheels, not one. Fix: check pyproject.toml."
            raise WheelhouseError(message)
        wheels = sorted([*locked, *own], key=lambda item: item.name)
        pip = [wheel.name for wheel in wheels if wheel_name(wheel)[0] == "pip"]
        if not pip:
            message = (
                f"pip is not in {requirements}. Fix: add it to runtime.in and run `make lock`."
            )
            raise WheelhouseError(message)
        listing = Path(name) / "requirements.txt"
        listing.write_text(requirements_text(wheels), encoding="utf-8")
        sums = Path(name) / "SHA256SUMS"
        text = "".join(f"{sha256(file)}  {file.name}\n" for file in [*wheels, listing])
        sums.write_text(text, encoding="utf-8")
        version = version_of(wheel_name(own[0])[1], text)
        archive = destination / f"{version}.tar"
        pack([*wheels, listing, sums], archive)
    return {"version": version, "archive": str(archive), "pip": pip[0]}


def last_build(destination: Path, digest: str) -> dict[str, str] | None:
    """Return the last build if it has the same inputs and its archive exists."""
    try:
        state = json.loads((destination / STATE_FILE).read_text(encoding="utf-8"))
        result = {key: str(state[key]) for key in ("version", "archive", "pip")}
        same = state["inputs"] == digest and sha256(Path(result["archive"])) == state["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if same else None


def clean(destination: Path, archive: Path, requirements: Path) -> None:
    """Remove archives and downloads of earlier builds."""
    keep = {archive.name, f"downloads-{sha256(requirements)[:16]}"}
    for old in [*destination.glob("*.tar"), *destination.glob("downloads-*")]:
        if old.name in keep:
            continue
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def ensure(
    project: Path, requirements: Path, destination: Path, timeout_s: int
) -> tuple[bool, dict[str, str]]:
    """Return whether a build was needed, and the wheelhouse.

    Raises:
        WheelhouseError: an input is missing or a step failed.
    """
    for path in (requirements, project / "pyproject.toml"):
        if not path.is_file():
            message = f"{path} is missing. Fix: run from a complete checkout of the project."
            raise WheelhouseError(message)
    destination.mkdir(parents=True, exist_ok=True)
    digest = inputs_digest(project, requirements)
    known = last_build(destination, digest)
    if known is not None:
        return False, known
    result = build(project, requirements, destination, timeout_s)
    archive = Path(result["archive"])
    state: dict[str, Any] = {**result, "inputs": digest, "sha256": sha256(archive)}
    temporary = destination / f".{STATE_FILE}.tmp"
    temporary.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(destination / STATE_FILE)
    clean(destination, archive, requirements)
    return True, result


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "path", "required": True},
            "requirements": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "timeout_s": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    try:
        changed, result = ensure(
            Path(module.params["project"]).resolve(),
            Path(module.params["requirements"]).resolve(),
            Path(module.params["destination"]).resolve(),
            module.params["timeout_s"],
        )
    except (WheelhouseError, OSError) as error:
        module.fail_json(msg=f"The wheelhouse cannot be built. {error}")
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
