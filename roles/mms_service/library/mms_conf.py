#!/usr/bin/python
"""Ansible module: validate mms.conf and its archives. Runs on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_conf
short_description: Validate mms.conf and its archives on the controller
description:
  - Parses the file with the parser of the server, and unpacks every archive that is on the
    controller. An error stops the play before any host is changed. Changes nothing.
options:
  conf:
    description: The C(mms.conf) to validate. Ignored if O(models) is given.
    type: path
    required: true
  models:
    description: >-
      Models from which an C(mms.conf) is generated. Maps a name to a location, or to a mapping with
      C(location) and C(settings).
    type: dict
    default: {}
  rest:
    description: Further text of the generated C(mms.conf).
    type: str
    default: ""
  archives:
    description: Directory on the controller in which archives are looked up, by base name.
    type: path
    required: true
  shared:
    description: Directory on the hosts to which archives are published.
    type: path
    required: true
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Validate mms.conf
  mms_conf:
    conf: build/models/mms.conf
    archives: build/models
    shared: /efs/models
  delegate_to: localhost
  run_once: true

- name: Validate the models of the inventory
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
    One entry for each model: C(name), C(location), C(line), C(archive) (path on the controller, or
    empty), C(samples) (directory of golden samples beside it, or empty), C(publish) (whether the
    archive has to be copied to its location), C(remote) (whether each host downloads it).
  returned: success
  type: list
  elements: dict
contents:
  description: >-
    Files and directories to copy to the share: C(source), C(sha256), C(directory) (whether it is
    a directory) and C(label).
  returned: success
  type: list
  elements: dict
places:
  description: >-
    Maps paths below the shared directory to the SHA-256 of their content, empty for no content.
  returned: success
  type: dict
text:
  description: The generated C(mms.conf), empty if O(conf) is used.
  returned: success
  type: str
sha256:
  description: The SHA-256 of the C(mms.conf).
  returned: success
  type: str
notes:
  description: Settings in the file that have no effect.
  returned: success
  type: list
  elements: str
"""

_GOLDEN = ".golden"


def describe(model: Any, conf: Path, archives: Path, shared: Path) -> dict[str, Any]:
    """Return the entry of one model in ``models`` of ``RETURN``; unpack its archive to validate it.

    Raises:
        MMSError: the location is malformed, or the archive on the controller is not valid.
    """
    # Imported here: Ansible loads the module also where the project is not installed.
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
    """Return the files and directories to copy to the share, each content once."""
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
    """Return the SHA-256 for each path below the shared directory."""
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
    """Return the result of the module, as ``RETURN`` describes it.

    Raises:
        MMSError: the file or an archive is not valid.
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
        from mms_server.core.errors import MMSError  # noqa: PLC0415 - reported below if missing
    except ImportError as error:
        module.fail_json(
            msg=f"The project is not installed in the Python of Ansible ({error}). "
            "Fix: run `make venv`, then use .venv/bin/ansible-playbook."
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
        module.fail_json(msg=f"{error} No host has been changed.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
