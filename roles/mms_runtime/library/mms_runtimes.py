#!/usr/bin/python
"""Ansible module: remove runtimes that nothing on this host uses. Runs on the host, stdlib only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_runtimes
short_description: Remove runtimes that nothing on this host uses
description:
  - Keeps the current runtime, every one that a model release names, and the newest O(keep) others.
options:
  keep:
    description: How many unused runtimes stay, newest first.
    type: int
    required: true
  releases:
    description: Directory of the runtimes.
    type: path
    default: /opt/mms/releases
  current:
    description: Link to the runtime in use.
    type: path
    default: /opt/mms/current
  models:
    description: Directory of the model releases.
    type: path
    default: /var/lib/mms/releases
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Remove runtimes that nothing uses
  mms_runtimes:
    keep: 2
"""

RETURN = r"""
removed:
  description: Names of the runtimes that were (or would be) removed.
  returned: always
  type: list
  elements: str
"""


def used_runtimes(current: Path, models: Path) -> set[Path]:
    """Return the runtimes in use, resolved.

    Raises:
        ValueError: a release file cannot be read, so what it uses is unknown.
    """
    used = {current.resolve()} if current.exists() else set()
    for file in sorted(models.glob("*/release.json")):
        try:
            used.add(Path(json.loads(file.read_text(encoding="utf-8"))["runtime"]).resolve())
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{file} cannot be read ({error}), so the runtime it uses is unknown."
            raise ValueError(message) from error
    return used


def removable(releases: Path, used: set[Path], keep: int) -> list[Path]:
    """Return the runtimes to remove: unused ones except the ``keep`` newest, oldest last."""
    if not releases.is_dir():
        return []
    unused = [
        path
        for path in releases.iterdir()
        if path.is_dir() and not path.is_symlink() and path.resolve() not in used
    ]
    unused.sort(key=lambda path: (path.stat().st_mtime, path.name), reverse=True)
    return unused[max(keep, 0) :]


def remove(path: Path) -> None:
    """Remove one runtime; its marker goes first, so that a half-removed one is never used."""
    (path / ".complete").unlink(missing_ok=True)
    shutil.rmtree(path)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "keep": {"type": "int", "required": True},
            "releases": {"type": "path", "default": "/opt/mms/releases"},
            "current": {"type": "path", "default": "/opt/mms/current"},
            "models": {"type": "path", "default": "/var/lib/mms/releases"},
        },
        supports_check_mode=True,
    )
    current = Path(module.params["current"])
    try:
        used = used_runtimes(current, Path(module.params["models"]))
        paths = removable(Path(module.params["releases"]), used, module.params["keep"])
        # Without a current runtime the play has not got so far: nothing is known to be unused.
        paths = paths if current.exists() else []
        if not module.check_mode:
            for path in paths:
                remove(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error} Fix: repair or remove it, then run the play again.")
    module.exit_json(changed=bool(paths), removed=[path.name for path in paths])


if __name__ == "__main__":
    main()
