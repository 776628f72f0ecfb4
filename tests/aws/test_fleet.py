"""From an empty account to a fleet, and to teardown, with one build."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aws import rights
from tests.aws.account import Account

pytestmark = pytest.mark.timeout(1800)

# The emulator has no image of Debian.
IMAGE = ["-e", "aws_hosts_image_owner=099720109477",
         "-e", "aws_hosts_image_name=ubuntu/images/hvm-ssd/ubuntu-*-amd64-server-*"]  # fmt: skip
NAME = "mms-production"
MADE = ["playbooks/provision.yml", "playbooks/register.yml", "playbooks/scale.yml",
        "-e", "mms_cloud=aws", *IMAGE]  # fmt: skip
TEARDOWN = ["playbooks/teardown.yml", *IMAGE, "-e", "aws_storage_delete_data=true"]


def test_build_serve_and_teardown(account: Account, healthy_host: tuple[str, int]) -> None:
    checked = account.play(*MADE, "--check", "--diff").ended_well()
    assert re.search(r"total +[0-9.]+ +[0-9.]+", checked.output)
    assert account.census() == {}

    refuse_a_quota_and_a_right(account)
    with account.balancing(healthy_host):
        # The next run uses the resources that the refused runs have made.
        account.play(*MADE).ended_well()
        again = account.play(*MADE, "--diff").ended_well()
        assert again.changed == 0, again.output[-6000:]
    assert_topology(account)
    assert_user_data(account)
    assert_inventory(account)
    assert account.play(*MADE, "--check", "--diff").ended_well().changed == 0

    unanswered = account.play(MADE[1], *MADE[3:], "-e", "aws_load_balancer_register_timeout_s=5")
    assert unanswered.status
    said = " ".join(unanswered.output.split())
    assert "Fix: check that the name resolves on this machine" in said

    assert_refreshed(account)

    refused = account.play(*TEARDOWN, "-e", "confirm=other")
    assert refused.status
    assert "Nothing has been removed" in refused.output
    account.play(*TEARDOWN, "-e", f"confirm={NAME}").ended_well()
    assert account.census() == {}
    assert account.play(*TEARDOWN, "-e", f"confirm={NAME}").ended_well().changed == 0
    needed = rights.of_calls(account.calls())
    assert (needed - rights.of_operator(), rights.of_operator() - needed) == (set(), set())
    assert {each.call for each in account.asked()} >= {"iam:CreateRole", "s3:CreateBucket"}
    assert rights.refused(rights.policy_of_operator(), account.asked()) == []


def refuse_a_quota_and_a_right(account: Account) -> None:
    with account.refusing("ec2:CreateVpc", "VpcLimitExceeded", "The maximum has been reached."):
        refused = account.play(MADE[0], *MADE[3:])
    said = " ".join(refused.output.split())
    assert refused.status
    assert "CreateVpc was refused (VpcLimitExceeded): a quota" in said
    assert "Fix: request an increase in Service Quotas" in said
    with account.refusing("iam:CreateRole", "AccessDenied", "No."):
        refused = account.play(MADE[0], *MADE[3:])
    said = " ".join(refused.output.split())
    assert refused.status
    assert (
        "CreateRole was refused (AccessDenied): the current user or role lacks the right "
        "iam:CreateRole" in said
    )


def instances_of(account: Account, role: str = "mms") -> list[dict[str, Any]]:
    found = account.client("ec2").describe_instances(
        Filters=[
            {"Name": "instance-state-name", "Values": ["running"]},
            {"Name": "tag:Role", "Values": [role]},
        ]
    )
    return [each for group in found["Reservations"] for each in group["Instances"]]


def assert_topology(account: Account) -> None:
    instances = instances_of(account)
    assert len(instances) == 4
    assert {each["InstanceType"] for each in instances} == {"c4.2xlarge"}
    zones = [each["Placement"]["AvailabilityZone"] for each in instances]
    assert sorted(zones) == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b"]

    balancing = account.client("elbv2")
    group = balancing.describe_target_groups(Names=[NAME])["TargetGroups"][0]
    assert (group["HealthCheckPath"], group["Port"]) == ("/ping", 80)
    health = balancing.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
    registered = {each["Target"]["Id"] for each in health["TargetHealthDescriptions"]}
    assert registered == {each["InstanceId"] for each in instances}

    files = account.client("efs").describe_file_systems()["FileSystems"]
    assert [(each["Encrypted"], each["ThroughputMode"]) for each in files] == [(True, "elastic")]
    board = account.client("cloudwatch").get_dashboard(DashboardName=NAME)["DashboardBody"]
    assert "LatencyInference" in board
    assert len(json.loads(board)["widgets"]) == 8


def assert_user_data(account: Account) -> None:
    """Assert that the user data is a valid script, and that its bundle exists."""
    template = account.client("ec2").describe_launch_template_versions(LaunchTemplateName=NAME)
    data = template["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    script = base64.b64decode(data["UserData"]).decode()
    shellcheck = Path(sys.executable).with_name("shellcheck")
    subprocess.run([shellcheck, "-"], input=script, text=True, check=True, timeout=30)
    assert len(script) < 16384
    bundles = account.client("s3").list_objects_v2(Bucket=f"{NAME}-123456789012", Prefix="bundles/")
    assert [each["Key"] in script for each in bundles["Contents"]] == [True]


def assert_inventory(account: Account) -> None:
    found = account.inventory()
    assert len(found["mms"]["hosts"]) == 4
    assert {"zone_us_east_1a", "zone_us_east_1b", "environment_production"} <= found.keys()
    first = found["_meta"]["hostvars"]["mms-production-1"]
    assert first["aws_tags"]["FileSystem"].startswith("fs-")
    assert first["aws_tags"]["TargetGroup"].startswith("arn:aws:elasticloadbalancing:")
    # The parts of the name of the bucket through which sessions send files.
    assert first["aws_owner_id"] == "123456789012"


def assert_refreshed(account: Account) -> None:
    """Assert that the group's hosts are replaced, and the hosts with names are not."""
    account.client("autoscaling").set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=1)
    before = {each["InstanceId"] for each in instances_of(account)}
    assert "scaled" in account.inventory()
    account.play("playbooks/refresh.yml").ended_well()
    after = {each["InstanceId"] for each in instances_of(account)}
    assert len(before) == len(after) == 5
    assert len(before & after) == 4


def test_a_plain_inventory_makes_no_call_to_aws(account: Account) -> None:
    done = account.play(*MADE[:3], "--list-hosts")
    assert done.ended_well().output.count("hosts (0)") == 3
    assert "ec2:RunInstances" not in account.calls()
