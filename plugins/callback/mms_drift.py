"""Ansible callback: collect the changes that check mode reports, for playbooks/drift.yml."""

from __future__ import annotations

from typing import Any

from ansible import context
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: mms_drift
type: aggregate
short_description: Collects the changes that check mode reports
description:
  - In check mode, collects the tasks that would change something; C(playbooks/drift.yml) shows
    them. Prints nothing, and does nothing without check mode.
requirements: []
"""


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    """The class that Ansible loads."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "mms_drift"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        """Collect a changed result; handlers are skipped, because they only follow a change."""
        task = result.task
        if not context.CLIARGS.get("check") or isinstance(task, Handler):
            return
        if result.is_changed():
            from mms_server.fleet.rollout import drift  # noqa: PLC0415 - needed in check mode only

            drift.FOUND.add(result.host.name, task.action, task.name, result.result)
