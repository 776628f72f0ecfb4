#!/usr/bin/python
"""Ansible module: read and check mms.conf and its archives. Runs on the controller."""

from __future__ import annotations

import hashlib
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
    description: The C(mms.conf) to check, unless O(models) are given.
    type: path
    required: true
  models:
    description: >-
      Models to make an C(mms.conf) of: name to location, or to a mapping with C(location) and
      C(settings).
    type: dict
    default: {}
  rest:
    description: What else stands in the C(mms.conf) that is made.
    type: str
    default: ""
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

- name: Check what the inventory says
  mms_conf:
    conf: ""
    models:
      digits: /efs/models/digits.model
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
contents:
  description: >-
    What is to be copied to the share: C(source), C(sha256), C(directory) (whether it is one) and
    C(label).
  returned: success
  type: list
  elements: dict
places:
  description: >-
    Paths below the shared directory, and the SHA-256 of what is to be there; empty for nothing.
  returned: success
  type: dict
text:
  description: The C(mms.conf) that was made, empty for a file.
  returned: success
  type: str
sha256:
  description: The SHA-256 of the C(mms.conf).
  returned: success
  type: str
notes:
  description: What the file says that has no effect.
  returned: success
  type: list
  elements: str
"""

_GOLDEN = ".golden"


def describe(model: Any, conf: Path, archives: Path, shared: Path) -> dict[str, Any]:
    """Return what the roles need to know of one model; unpack its archive to check it.

    Raises:
        MMSError: the location is malformed, or the archive here is bad.
    """
    # The module must load without the project.
    from mms_server.archives.resolver import check_beside  # noqa: PLC0415
    from mms_server.core.errors import ArchiveError, ConfError  # noqa: PLC0415

    try:
        beside = check_beside(model.location, archives)
    except ArchiveError as error:
        cause = f"model {model.name}: {error.archive}: {error.cause}"
        raise ConfError(conf, model.line, cause, fix=error.fix) from error
    found, location = beside.found, beside.found.location
    path = shared / location.text.removeprefix("file://")
    return {
        "name": model.name,
        "location": location.shown if location.remote else str(path),
        "line": model.line,
        "archive": str(found.path or ""),
        "sha256": beside.sha256,
        "samples": str(found.samples or ""),
        "samples_sha256": beside.samples_sha256,
        "publish": bool(found.path) and not location.remote and path.is_relative_to(shared),
        "remote": location.remote,
    }


def contents_of(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is to be copied to the share, each content once."""
    found = {}
    for model in models:
        if not model["publish"]:
            continue
        for kind in ("archive", "samples"):
            source = model[kind]
            digest = model["sha256" if kind == "archive" else "samples_sha256"]
            if source:
                found[digest] = {
                    "source": source,
                    "sha256": digest,
                    "directory": Path(source).is_dir(),
                    "label": f"{kind} of {model['name']}",
                }
    return list(found.values())


def places_of(models: list[dict[str, Any]], shared: Path) -> dict[str, str]:
    """Return what is to be where below the shared directory."""
    found = {}
    for model in models:
        if model["publish"]:
            place = str(Path(model["location"]).relative_to(shared))
            found[place] = model["sha256"]
            found[f"{place}{_GOLDEN}"] = model["samples_sha256"]
    return found


def examine(
    conf: Path, archives: Path, shared: Path, models: dict[str, Any] | None = None, rest: str = ""
) -> dict[str, Any]:
    """Return what ``RETURN`` says.

    Raises:
        MMSError: the file or an archive is wrong.
    """
    from mms_server.config import mms_conf as parser  # noqa: PLC0415 - see above
    from mms_server.config import mms_conf_writer  # noqa: PLC0415 - likewise
    from mms_server.config.settings import Settings  # noqa: PLC0415 - likewise
    from mms_server.core.paths import Layout  # noqa: PLC0415 - likewise
    from mms_server.deploy.desired_state import log_of  # noqa: PLC0415 - likewise

    if models:
        text = mms_conf_writer.render(models, rest)
        parsed = parser.parse(text, Path("mms_service_models"))
        digest = hashlib.sha256(text.encode()).hexdigest()
    else:
        text = ""
        parsed = parser.read(conf)
        digest = hashlib.sha256(conf.read_bytes()).hexdigest()
    _log, moved = log_of(parsed, Settings(), Layout().log)
    described = [describe(model, parsed.file, archives, shared) for model in parsed.models]
    return {
        "models": described,
        "contents": contents_of(described),
        "places": places_of(described, shared),
        "text": text,
        "sha256": digest,
        "notes": [*parsed.warnings, *moved],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "conf": {"type": "path", "required": True},
            "models": {"type": "dict", "default": {}},
            "rest": {"type": "str", "default": ""},
            "archives": {"type": "path", "required": True},
            "shared": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        from mms_server.core.errors import MMSError  # noqa: PLC0415 - its absence gets a message
    except ImportError as error:
        module.fail_json(
            msg=f"The project is not installed where Ansible runs ({error}). "
            "Fix: run `make venv` and start .venv/bin/ansible-playbook."
        )
    try:
        result = examine(
            Path(module.params["conf"]),
            Path(module.params["archives"]),
            Path(module.params["shared"]),
            module.params["models"],
            module.params["rest"],
        )
    except MMSError as error:
        module.fail_json(msg=f"{error} Nothing has been changed on any host.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
