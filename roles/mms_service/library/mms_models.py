#!/usr/bin/python
"""Ansible module: make this host serve what mms.conf says. Runs on the host, stdlib only."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_models
short_description: Make this host serve what mms.conf says
description:
  - Runs C(mms apply), in check mode C(mms plan). A release that does not get ready leaves the host
    serving what it served, and the module fails with the model, the step and the cause.
options:
  conf:
    description: The C(mms.conf) on the host.
    type: path
    required: true
  part:
    description: >-
      Which part of the file. The edge is C([Nginx Configurations]) and gunicorn's C(--bind);
      C(mms edge) is run for it, in check mode C(mms edge --check).
    type: str
    choices: [models, edge]
    default: models
  command:
    description: The C(mms) command.
    type: path
    default: /opt/mms/current/bin/mms
  timeout_s:
    description: Seconds after which the attempt is given up.
    type: int
    default: 1800
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Serve what mms.conf says
  mms_models:
    conf: /efs/models/mms.conf

- name: Let nginx serve as mms.conf says
  mms_models:
    conf: /efs/models/mms.conf
    part: edge
"""

RETURN = r"""
models:
  description: One entry a model, with C(model), C(action), C(release) and C(previous).
  returned: for the models
  type: list
  elements: dict
generation:
  description: Number of the generation that is live.
  returned: for the models
  type: int
listen:
  description: Where the router listens, in nginx's words.
  returned: for the edge
  type: str
"""


class ApplyError(Exception):
    """``mms`` failed; the text is its message."""


def interpret(returncode: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Return the result of ``mms plan`` or ``mms apply``.

    Raises:
        ApplyError: it reported an error, or its output is not what this module understands.
    """
    try:
        result: dict[str, Any] = json.loads(stdout)
    except ValueError as error:
        lines = (stderr.strip() or stdout.strip() or "no output").splitlines()
        message = f"mms ended with {returncode}: {' | '.join(lines[-8:])}"
        raise ApplyError(message) from error
    if "error" in result:
        raise ApplyError(result["error"].get("text") or result["error"].get("cause"))
    if returncode:
        message = f"mms ended with {returncode}: {stderr.strip()[-500:]}"
        raise ApplyError(message)
    return result


def run(command: list[str], timeout_s: int) -> dict[str, Any]:
    """Run ``mms`` and return its result.

    Raises:
        ApplyError: it failed or took too long.
    """
    try:
        done = subprocess.run(
            command, timeout=timeout_s, text=True, check=False,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = (
            f"`{' '.join(command)}` took more than {timeout_s} s and was stopped; the host serves "
            "what it served. Fix: look at `journalctl -u 'mms@*'` on the host, then run again."
        )
        raise ApplyError(message) from error
    return interpret(done.returncode, done.stdout, done.stderr)


def words_of(part: str, *, check_mode: bool) -> list[str]:
    """Return the words of the ``mms`` command for a part of ``mms.conf``."""
    if part == "edge":
        return ["edge", *(["--check"] if check_mode else [])]
    return ["plan" if check_mode else "apply"]


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "conf": {"type": "path", "required": True},
            "part": {"type": "str", "choices": ["models", "edge"], "default": "models"},
            "command": {"type": "path", "default": "/opt/mms/current/bin/mms"},
            "timeout_s": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    command, conf = module.params["command"], module.params["conf"]
    if module.check_mode and not (Path(command).exists() and Path(conf).exists()):
        # A bare host: neither the runtime nor mms.conf has been put there, because this is a check.
        after = f"everything that {conf} says, loaded for the first time\n"
        module.exit_json(
            changed=True, models=[], generation=None, diff={"before": "", "after": after}
        )
    words = words_of(module.params["part"], check_mode=module.check_mode)
    try:
        result = run([command, *words, "--conf", conf, "--json"], module.params["timeout_s"])
    except (ApplyError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=result["changed"],
        **{name: result[name] for name in ("models", "generation", "listen") if name in result},
        diff={"before": result["before"], "after": result["after"]},
    )


if __name__ == "__main__":
    main()
