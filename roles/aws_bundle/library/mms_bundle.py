#!/usr/bin/python
"""Ansible module: pack the bundle of a host. Runs on the controller, with the stdlib only."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_bundle
short_description: Pack the bundle from which a host configures itself
description:
  - Packs the roles and playbooks of the project, the wheelhouse of the runtime, the wheels of
    Ansible, the variables of the deployment, and a list of checksums.
  - The build is reproducible, so an unchanged bundle keeps its name.
  - Changes only the controller, so it also runs in check mode.
options:
  project:
    description: Root of the project.
    type: path
    required: true
  destination:
    description: Directory of the bundle. Older bundles in it are removed.
    type: path
    required: true
  wheelhouse:
    description: Result of C(mms_wheelhouse) for the requirements of the runtime.
    type: dict
    required: true
  joining:
    description: Result of C(mms_wheelhouse) for the requirements of Ansible on a host.
    type: dict
    required: true
  variables:
    description: Variables of the deployment. No secrets: readers of the bucket see them.
    type: dict
    required: true
  start:
    description: Text of the script C(start.sh).
    type: str
    required: true
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Pack the bundle
  mms_bundle:
    project: "{{ role_path }}/../.."
    destination: "{{ role_path }}/../../build/bundle"
    wheelhouse: "{{ wheelhouse }}"
    joining: "{{ joining }}"
    variables: {efs_mount_source: "fs-0123456789abcdef0.efs.us-east-1.amazonaws.com:/"}
    start: "{{ lookup('ansible.builtin.file', 'start.sh') }}"
"""

RETURN = r"""
archive:
  description: Path of the bundle on the controller.
  returned: success
  type: str
name:
  description: C(mms-<version>-<8 hex of the checksum>.tar.gz).
  returned: success
  type: str
sha256:
  description: SHA-256 of the bundle.
  returned: success
  type: str
"""

# Directory into which the user data of the launch template unpacks the bundle.
ROOT_ON_HOST = "/opt/mms/bundle"
PROJECT = (
    "LICENSE", "README.md", "ansible.cfg", "mms", "mms_server", "playbooks", "plugins",
    "pyproject.toml", "requirements", "roles",
)  # fmt: skip
EXCLUDED = {"__pycache__"}


class BundleError(Exception):
    """The bundle cannot be built; the message names the cause and the fix."""


def project_files(project: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name in the bundle and the path of each file of the project.

    Raises:
        BundleError: a part of the project is missing.
    """
    for part in PROJECT:
        path = project / part
        if not path.exists():
            message = f"{path} is missing. Fix: run from a complete checkout of the project."
            raise BundleError(message)
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            name = file.relative_to(project)
            if file.is_file() and not EXCLUDED & set(name.parts):
                yield str(name), file


def state_on_host(wheelhouse: dict[str, Any]) -> bytes:
    """Return the state file of a wheelhouse, with the path of the archive on the host."""
    archive = Path(wheelhouse["archive"])
    try:
        state = json.loads((archive.parent / "wheelhouse.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{archive.parent}: the wheelhouse is incomplete. Fix: run the playbook again."
        raise BundleError(message) from error
    state["archive"] = f"{ROOT_ON_HOST}/build/wheelhouse/{archive.name}"
    return (json.dumps(state, indent=2, sort_keys=True) + "\n").encode()


def contents(parameters: dict[str, Any]) -> dict[str, bytes]:
    """Return all files of the bundle by name, including the list of checksums.

    Raises:
        BundleError: an input is missing.
    """
    files = {name: path.read_bytes() for name, path in project_files(Path(parameters["project"]))}
    runtime, joining = Path(parameters["wheelhouse"]["archive"]), parameters["joining"]
    variables = json.dumps(parameters["variables"], indent=2, sort_keys=True) + "\n"
    files |= {
        f"build/wheelhouse/{runtime.name}": runtime.read_bytes(),
        "build/wheelhouse/wheelhouse.json": state_on_host(parameters["wheelhouse"]),
        "build/joining.tar": Path(joining["archive"]).read_bytes(),
        "variables.json": variables.encode(),
        "start.sh": parameters["start"].encode(),
    }
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return files | {"SHA256SUMS": sums.encode()}


def pack(files: dict[str, bytes]) -> bytes:
    """Return a compressed tar archive; the same files give the same bytes."""
    packed = io.BytesIO()
    # Wheels are compressed already: level 1 is much faster than level 9 and gives the same size.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(files[name]))
    return packed.getvalue()


def ensure(parameters: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Build the bundle; return whether it is new, and the result that ``RETURN`` describes.

    Raises:
        BundleError: an input is missing.
        OSError: the bundle cannot be written.
    """
    packed = pack(contents(parameters))
    digest = hashlib.sha256(packed).hexdigest()
    name = f"mms-{parameters['wheelhouse']['version']}-{digest[:8]}.tar.gz"
    destination = Path(parameters["destination"])
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / name
    result = {"archive": str(archive), "name": name, "sha256": digest}
    if archive.is_file() and archive.read_bytes() == packed:
        return False, result
    temporary = destination / ".bundle.tmp"
    temporary.write_bytes(packed)
    temporary.replace(archive)
    for old in destination.glob("mms-*.tar.gz"):
        if old != archive:
            old.unlink()
    return True, result


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "wheelhouse": {"type": "dict", "required": True},
            "joining": {"type": "dict", "required": True},
            "variables": {"type": "dict", "required": True},
            "start": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        changed, result = ensure(module.params)
    except (BundleError, OSError, KeyError) as error:
        module.fail_json(msg=f"The bundle cannot be built. {error}")
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
