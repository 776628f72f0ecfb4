#!/usr/bin/python
"""Ansible module: apply mms.conf on this host. Runs on the host, with the stdlib only."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_models
short_description: Apply mms.conf on this host
description:
  - Runs C(mms apply), in check mode C(mms plan). If a release does not become ready, the host keeps
    its old releases, and the module fails with the model, the step and the cause. The module also
    fails if the host has too little memory for the change, in check mode too.
options:
  conf:
    description: The C(mms.conf) on the host. Not needed for a rollback.
    type: path
  part:
    description: >-
      The part of the file to apply. C(models) runs C(mms apply). C(edge) is the configuration of
      nginx, that is C([Nginx Configurations]) and C(--bind) of gunicorn; it runs C(mms edge), in
      check mode C(mms edge --check). C(rollback) is not a part of the file: it runs
      C(mms rollback).
    type: str
    choices: [models, edge, rollback]
    default: models
  to:
    description: >-
      Number of the generation to roll back to. Default is the generation before the live one.
    type: int
  allow_gap:
    description: >-
      Whether a release may start after the end of the release that it replaces, if both do not fit
      into memory at the same time. Its requests wait meanwhile.
    type: bool
    default: false
  command:
    description: The C(mms) command.
    type: path
    default: /opt/mms/current/bin/mms
  timeout_s:
    description: Time limit of the command, in seconds.
    type: int
    default: 1800
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Apply the models of mms.conf
  mms_models:
    conf: /efs/models/mms.conf

- name: Roll back to the previous generation
  mms_models:
    part: rollback

- name: Apply the nginx configuration of mms.conf
  mms_models:
    conf: /efs/models/mms.conf
    part: edge
"""

RETURN = r"""
models:
  description: >-
    One entry for each model: C(model), C(action), C(release), C(previous), C(changes) and C(gap_s),
    the seconds that its requests waited.
  returned: for the models
  type: list
  elements: dict
generation:
  description: Number of the live generation.
  returned: for the models
  type: int
plan:
  description: The plan as text. It is also the diff.
  returned: for the models
  type: str
risks:
  description: Risks of the change, for the operator.
  returned: for the models
  type: list
  elements: str
keep_warm:
  description: Seconds that a replaced release stays loaded, by release.
  returned: for the models
  type: dict
warnings_of_mms:
  description: Warnings of C(mms).
  returned: for the models
  type: list
  elements: str
listen:
  description: Listen address of nginx, in the syntax of nginx.
  returned: for the edge
  type: str
"""


class ApplyError(Exception):
    """``mms`` failed; the text is its message."""


def interpret(returncode: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Return the result of ``mms plan`` or ``mms apply``.

    Raises:
        ApplyError: the command reported an error, or its output is not JSON.
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
        ApplyError: the command failed or exceeded the time limit.
    """
    try:
        done = subprocess.run(
            command, timeout=timeout_s, text=True, check=False,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = (
            f"`{' '.join(command)}` took more than {timeout_s} s and was stopped; the host keeps "
            "its old releases. Fix: read `journalctl -t mms` on the host, then run the play again."
        )
        raise ApplyError(message) from error
    return interpret(done.returncode, done.stdout, done.stderr)


def arguments_of(
    part: str, conf: str | None, *, check_mode: bool, allow_gap: bool = False, to: int | None = None
) -> list[str]:
    """Return the arguments of the ``mms`` command for a part of ``mms.conf``."""
    gap = ["--allow-gap"] if allow_gap else []
    check = ["--check"] if check_mode else []
    if part == "rollback":
        return ["rollback", *check, *gap, *(["--to", str(to)] if to is not None else [])]
    if part == "edge":
        return ["edge", *check, "--conf", str(conf)]
    return ["plan" if check_mode else "apply", *gap, "--conf", str(conf)]


def diff_of(result: dict[str, Any]) -> dict[str, str]:
    """Return the diff of a result; for models it includes the plan."""
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
        # Check mode on a new host: the runtime and mms.conf have not been installed.
        after = f"all models of {conf or 'mms.conf'}, loaded for the first time\n"
        module.exit_json(
            changed=True, models=[], generation=None, diff={"before": "", "after": after}
        )
    arguments = arguments_of(
        part,
        conf,
        check_mode=module.check_mode,
        allow_gap=module.params["allow_gap"],
        to=module.params["to"],
    )
    try:
        result = run([command, *arguments, "--json"], module.params["timeout_s"])
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
