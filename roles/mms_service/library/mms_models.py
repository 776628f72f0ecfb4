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
    serving what it served, and the module fails with the model, the step and the cause. So does a
    change that the host has no memory for, also in check mode.
options:
  conf:
    description: The C(mms.conf) on the host. A rollback needs none.
    type: path
  part:
    description: >-
      Which part of the file. The edge is C([Nginx Configurations]) and gunicorn's C(--bind);
      C(mms edge) is run for it, in check mode C(mms edge --check). C(rollback) is no part of the
      file, but what the host served before; C(mms rollback) is run for it.
    type: str
    choices: [models, edge, rollback]
    default: models
  to:
    description: Number of the generation to go back to; by default the one before the live one.
    type: int
  allow_gap:
    description: >-
      Whether a release that does not fit beside the one that it replaces may be started after its
      end. Its requests wait meanwhile.
    type: bool
    default: false
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

- name: Serve what was served before
  mms_models:
    part: rollback

- name: Let nginx serve as mms.conf says
  mms_models:
    conf: /efs/models/mms.conf
    part: edge
"""

RETURN = r"""
models:
  description: >-
    One entry a model, with C(model), C(action), C(release), C(previous), C(changes) and C(gap_s),
    the seconds that its requests waited.
  returned: for the models
  type: list
  elements: dict
generation:
  description: Number of the generation that is live.
  returned: for the models
  type: int
plan:
  description: What was planned, in words. It is also the diff.
  returned: for the models
  type: str
risks:
  description: What an operator should know of the change.
  returned: for the models
  type: list
  elements: str
keep_warm:
  description: Seconds that replaced releases stay loaded, by release.
  returned: for the models
  type: dict
warnings_of_mms:
  description: What C(mms) warned of.
  returned: for the models
  type: list
  elements: str
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
            "what it served. Fix: look at `journalctl -t mms` on the host, then run again."
        )
        raise ApplyError(message) from error
    return interpret(done.returncode, done.stdout, done.stderr)


def words_of(
    part: str, conf: str | None, *, check_mode: bool, allow_gap: bool = False, to: int | None = None
) -> list[str]:
    """Return the words of the ``mms`` command for a part of ``mms.conf``."""
    gap = ["--allow-gap"] if allow_gap else []
    check = ["--check"] if check_mode else []
    if part == "rollback":
        return ["rollback", *check, *gap, *(["--to", str(to)] if to is not None else [])]
    if part == "edge":
        return ["edge", *check, "--conf", str(conf)]
    return ["plan" if check_mode else "apply", *gap, "--conf", str(conf)]


def diff_of(result: dict[str, Any]) -> dict[str, str]:
    """Return the diff of a result; for models the plan comes with it."""
    diff = {"before": result["before"], "after": result["after"]}
    if result["changed"] and "plan" in result:
        diff["prepared"] = result["plan"] + "\n"
    return diff


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "conf": {"type": "path"},
            "part": {
                "type": "str",
                "choices": ["models", "edge", "rollback"],
                "default": "models",
            },
            "to": {"type": "int"},
            "allow_gap": {"type": "bool", "default": False},
            "command": {"type": "path", "default": "/opt/mms/current/bin/mms"},
            "timeout_s": {"type": "int", "default": 1800},
        },
        required_if=[("part", "models", ["conf"]), ("part", "edge", ["conf"])],
        supports_check_mode=True,
    )
    command, conf, part = (module.params[name] for name in ("command", "conf", "part"))
    needed = [command] if part == "rollback" else [command, conf]
    if module.check_mode and not all(Path(each).exists() for each in needed):
        # A bare host: neither the runtime nor mms.conf has been put there, because this is a check.
        after = f"everything that {conf or 'mms.conf'} says, loaded for the first time\n"
        module.exit_json(
            changed=True, models=[], generation=None, diff={"before": "", "after": after}
        )
    words = words_of(
        part,
        conf,
        check_mode=module.check_mode,
        allow_gap=module.params["allow_gap"],
        to=module.params["to"],
    )
    try:
        result = run([command, *words, "--json"], module.params["timeout_s"])
    except (ApplyError, OSError) as error:
        module.fail_json(msg=str(error))
    shown = ("models", "generation", "plan", "risks", "keep_warm", "listen")
    module.exit_json(
        changed=result["changed"],
        **{name: result[name] for name in shown if name in result},
        warnings_of_mms=result.get("warnings", []),
        diff=diff_of(result),
    )


if __name__ == "__main__":
    main()
