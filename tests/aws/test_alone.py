"""Each role in a playbook of its own: it reads the resources of others, and names missing ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.aws.account import Account
from tests.aws.test_fleet import IMAGE, NAME, instances_of

pytestmark = pytest.mark.timeout(1800)

# Ordered so that each role finds the resources that it needs.
ROLES = (
    "aws_plan", "aws_network", "aws_storage", "aws_access", "aws_load_balancer", "aws_hosts",
    "aws_observability", "aws_bundle", "aws_autoscaling", "aws_dns",
)  # fmt: skip
CHOICES = {
    "aws_hosts_count": 1,
    "mms_aws_account": "123456789012",
    "aws_dns_zone": "example.com",
    "aws_dns_record": "models.example.com",
    "aws_bundle_bucket": f"{NAME}-123456789012",
    "aws_bundle_variables": {"efs_mount_source": "fs-0123456789abcdef0:/"},
}


def playbook(directory: Path, role: str) -> Path:
    """Write a playbook with one role."""
    play: dict[str, Any] = {
        "name": role,
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "environment": "{{ mms_aws_module_environment }}",
        "roles": [role],
    }
    file = directory / f"{role}.yml"
    file.write_text(yaml.safe_dump([play], sort_keys=False))
    return file


def test_each_role_alone(account: Account, tmp_path: Path) -> None:
    account.client("route53").create_hosted_zone(Name="example.com.", CallerReference="somebody")
    before = account.census()
    values = tmp_path / "choices.json"
    values.write_text(json.dumps(CHOICES))
    options = [*IMAGE, "-e", f"@{values}"]
    plays = {role: str(playbook(tmp_path, role)) for role in ROLES}
    for role in ROLES:
        # The resources of other roles do not exist yet.
        account.play(plays[role], *options, "--check", "--diff").ended_well()
    assert account.census() == before
    for role in ROLES:
        account.play(plays[role], *options).ended_well()
    for role in ROLES:
        again = account.play(plays[role], *options, "--diff").ended_well()
        assert again.changed == 0, again.output
    host, = instances_of(account)  # fmt: skip
    tags = {each["Key"]: each["Value"] for each in host["Tags"]}
    assert tags["FileSystem"].startswith("fs-")
    assert tags["TargetGroup"].startswith("arn:aws:elasticloadbalancing:")
    bundles = account.client("s3").list_objects_v2(
        Bucket=CHOICES["aws_bundle_bucket"], Prefix="bundles/"
    )
    assert len(bundles["Contents"]) == 1
    group = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert (group["AutoScalingGroupName"], group["TargetGroupARNs"]) == (
        NAME,
        [tags["TargetGroup"]],
    )
