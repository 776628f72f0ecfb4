#!/usr/bin/python
"""Ansible module: remove unused runtimes. Runs on the host, with the stdlib only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_runtimes
short_description: Remove unused runtimes
description:
  - Keeps the current runtime, every runtime that a model release uses, and the newest O(keep)
    others.
options:
  keep:
    description: Number of unused runtimes to keep, newest first.
    type: int
    required: true
  releases:
    description: Directory of the runtimes.
    type: path
    default: /opt/mms/releases
  current:
    description: Link to the current runtime.
    type: path
    default: /opt/mms/current
  models:
    description: Directory of the model releases.
    type: path
    default: /var/lib/mms/releases
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Remove unused runtimes
  mms_runtimes:
    keep: 2
"""

RETURN = r"""
removed:
  description: Names of the removed runtimes, in check mode of those to remove.
  returned: always
  type: list
  elements: str
"""


def used_runtimes(current: Path, models: Path) -> set[Path]:
    """Return the resolved paths of the runtimes in use.

    Raises:
        ValueError: a release file cannot be read, so its runtime is unknown.
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
    """Return the runtimes to remove, newest first: the unused ones except the ``keep`` newest."""
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
    """Remove one runtime; its marker first, so that a partly removed runtime is never used."""
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
        # Without a current runtime (check mode on a new host) nothing is removed.
        paths = paths if current.exists() else []
        if not module.check_mode:
            for path in paths:
                remove(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error} Fix: repair or remove this file, then run the play again.")
    module.exit_json(changed=bool(paths), removed=[path.name for path in paths])


if __name__ == "__main__":
    main()
