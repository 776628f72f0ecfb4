#!/usr/bin/python
"""Ansible module: a dashboard of CloudWatch, as described."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

DOCUMENTATION = r"""
module: mms_dashboard
short_description: Keep a CloudWatch dashboard as described
description:
  - Compared as JSON, so that form and order of keys change nothing. Has check mode and diff.
options:
  name:
    description: Name of the dashboard.
    type: str
    required: true
  state:
    description: Whether it shall be there.
    type: str
    choices: [present, absent]
    default: present
  body:
    description: What it shows, in CloudWatch's form.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Dashboard
  mms_dashboard:
    name: mms-production
    body: {widgets: []}
"""

RETURN = r""" # """


def read(client: Any, name: str) -> dict[str, Any] | None:
    """Return what a dashboard shows; None when there is none."""
    entries = client.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    if not any(each["DashboardName"] == name for each in entries):
        return None
    body: dict[str, Any] = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
    return body


def act(client: Any, wanted: dict[str, Any], *, apply: bool) -> dict[str, Any]:
    """Make the dashboard as wanted; return the module's result."""
    before = read(client, wanted["name"])
    after = wanted["body"] if wanted["state"] == "present" else None
    if before != after and apply:
        if after is None:
            client.delete_dashboards(DashboardNames=[wanted["name"]])
        else:
            client.put_dashboard(DashboardName=wanted["name"], DashboardBody=json.dumps(after))
    texts = [
        "" if each is None else json.dumps(each, indent=2, sort_keys=True) + "\n"
        for each in (before, after)
    ]
    return {"changed": before != after, "diff": {"before": texts[0], "after": texts[1]}}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "body": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    # boto3 is there when a client is.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        result = act(module.client("cloudwatch"), module.params, apply=not module.check_mode)
    except (ClientError, BotoCoreError) as error:
        module.fail_json_aws(error, msg=f"dashboard {module.params['name']}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
