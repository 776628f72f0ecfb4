#!/usr/bin/python
"""Ansible module: read and check mms.conf and its archives. Runs on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_conf
short_description: Read and check mms.conf and its archives, on the controller
description:
  - Parses the file as the server does and unpacks every archive that is on the controller, so that
    a bad one stops a play before any host is touched. Changes nothing.
options:
  conf:
    description: The C(mms.conf) to check.
    type: path
    required: true
  archives:
    description: Directory where archives are looked for, by the base names of their locations.
    type: path
    required: true
  shared:
    description: Directory on the hosts that archives are published to.
    type: path
    required: true
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Check mms.conf
  mms_conf:
    conf: build/models/mms.conf
    archives: build/models
    shared: /efs/models
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
models:
  description: >-
    One entry a model: C(name), C(location), C(line), C(archive) (path on the controller, or empty),
    C(samples) (directory of golden samples beside it, or empty), C(publish) (whether the archive is
    to be copied to its location), C(remote) (whether each host fetches it).
  returned: success
  type: list
  elements: dict
notes:
  description: What the file says that has no effect.
  returned: success
  type: list
  elements: str
"""


def describe(model: Any, conf: Path, archives: Path, shared: Path) -> dict[str, Any]:
    """Return what the roles need to know of one model; unpack its archive to check it.

    Raises:
        MMSError: the location is malformed, or the archive here is bad.
    """
    # The module must load without the project.
    from mms_server.archives import check_beside  # noqa: PLC0415
    from mms_server.errors import ArchiveError, ConfError  # noqa: PLC0415

    try:
        found = check_beside(model.location, archives)
    except ArchiveError as error:
        cause = f"model {model.name}: {error.archive}: {error.cause}"
        raise ConfError(conf, model.line, cause, fix=error.fix) from error
    location = found.location
    path = Path(location.text.removeprefix("file://"))
    return {
        "name": model.name,
        "location": location.shown if location.remote else str(path),
        "line": model.line,
        "archive": str(found.path or ""),
        "samples": str(found.samples or ""),
        "publish": bool(found.path) and not location.remote and path.is_relative_to(shared),
        "remote": location.remote,
    }


def examine(conf: Path, archives: Path, shared: Path) -> dict[str, Any]:
    """Return what ``RETURN`` says.

    Raises:
        MMSError: the file or an archive is wrong.
    """
    from mms_server import conf as parser  # noqa: PLC0415 - see above
    from mms_server.layout import Layout  # noqa: PLC0415 - likewise
    from mms_server.settings import Settings  # noqa: PLC0415 - likewise
    from mms_server.wanted import log_of  # noqa: PLC0415 - likewise

    parsed = parser.read(conf)
    _log, moved = log_of(parsed, Settings(), Layout().log)
    return {
        "models": [describe(model, conf, archives, shared) for model in parsed.models],
        "notes": [*parsed.warnings, *moved],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "conf": {"type": "path", "required": True},
            "archives": {"type": "path", "required": True},
            "shared": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        from mms_server.errors import MMSError  # noqa: PLC0415 - its absence gets a message
    except ImportError as error:
        module.fail_json(
            msg=f"The project is not installed where Ansible runs ({error}). "
            "Fix: run `make venv` and start .venv/bin/ansible-playbook."
        )
    try:
        result = examine(*(Path(module.params[name]) for name in ("conf", "archives", "shared")))
    except MMSError as error:
        module.fail_json(msg=f"{error} Nothing has been changed on any host.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
