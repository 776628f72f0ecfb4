#!/usr/bin/python
"""Ansible module: create, update or delete a CloudWatch dashboard."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

DOCUMENTATION = r"""
module: mms_dashboard
short_description: Manage a CloudWatch dashboard
description:
  - Compares the body as JSON, so whitespace and key order make no change. Supports check mode
    and diff.
options:
  name:
    description: Name of the dashboard.
    type: str
    required: true
  state:
    description: Whether the dashboard should exist.
    type: str
    choices: [present, absent]
    default: present
  body:
    description: Body of the dashboard, in the format of CloudWatch.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Create the dashboard
  mms_dashboard:
    name: mms-production
    body: {widgets: []}
"""

RETURN = r""" # """


def read(client: Any, name: str) -> dict[str, Any] | None:
    """Return the body of a dashboard, None if it does not exist."""
    entries = client.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    if not any(each["DashboardName"] == name for each in entries):
        return None
    body: dict[str, Any] = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
    return body


def act(client: Any, wanted: dict[str, Any], *, apply: bool) -> dict[str, Any]:
    """Bring the dashboard to the desired state; return the result of the module."""
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
    # Imported here: AnsibleAWSModule has already checked that boto3 is installed.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        result = act(module.client("cloudwatch"), module.params, apply=not module.check_mode)
    except (ClientError, BotoCoreError) as error:
        module.fail_json_aws(error, msg=f"dashboard {module.params['name']}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
