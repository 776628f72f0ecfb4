"""From an empty account to a fleet, and back to nothing, with one build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.aws.account import Account

pytestmark = pytest.mark.timeout(900)

# The emulator has no image of Debian.
IMAGE = ["-e", "aws_hosts_image_owner=099720109477",
         "-e", "aws_hosts_image_name=ubuntu/images/hvm-ssd/ubuntu-*-amd64-server-*"]  # fmt: skip
NAME = "mms-production"
PROVISION = ["playbooks/provision.yml", "playbooks/register.yml", "-e", "mms_cloud=aws", *IMAGE]
TEARDOWN = ["playbooks/teardown.yml", *IMAGE, "-e", "aws_storage_delete_data=true"]


def test_build_serve_and_back_to_nothing(emulator: Account) -> None:
    account = emulator
    checked = account.play(*PROVISION, "--check", "--diff").ended_well()
    assert "in all" in checked.output
    assert account.census() == {}

    account.play(*PROVISION).ended_well()
    again = account.play(*PROVISION, "--diff").ended_well()
    assert again.changed == 0, again.output[-6000:]
    assert_topology(account)

    assert account.play(*PROVISION, "--check", "--diff").ended_well().changed == 0

    refused = account.play(*TEARDOWN, "-e", "confirm=other")
    assert refused.status
    assert "Nothing has been removed" in refused.output
    account.play(*TEARDOWN, "-e", f"confirm={NAME}").ended_well()
    assert account.census() == {}
    assert account.play(*TEARDOWN, "-e", f"confirm={NAME}").ended_well().changed == 0


def assert_topology(account: Account) -> None:
    found = account.client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["running"]}]
    )
    instances = [each for group in found["Reservations"] for each in group["Instances"]]
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


def test_a_plain_inventory_touches_no_aws(emulator: Account, tmp_path: Path) -> None:
    before = emulator.calls()
    emulator.record.write_text("")
    done = emulator.play("playbooks/provision.yml", "--list-hosts")
    assert "hosts (0)" in done.ended_well().output
    assert "ec2:RunInstances" not in emulator.calls()
    emulator.record.write_text("\n".join(sorted(before | emulator.calls())) + "\n")
