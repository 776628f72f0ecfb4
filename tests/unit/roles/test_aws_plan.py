"""What the fleet costs, and what a refusal of AWS means."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from tests.unit.roles.modules import ROOT

FILE = ROOT / "roles" / "aws_plan" / "filter_plugins" / "mms_aws.py"
spec = importlib.util.spec_from_file_location("mms_aws", FILE)
assert spec is not None
assert spec.loader is not None
filters: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(filters)

PRICES = yaml.safe_load((ROOT / "roles/aws_plan/vars/prices.yml").read_text())["__aws_plan_prices"]
WANTED = {
    "name": "mms-production", "hosts": 4, "more_hosts": 4, "type": "c4.2xlarge", "disk_gib": 80,
    "storage_gib": 10, "alarms": 7, "zones": 2,
}  # fmt: skip


def test_the_cost_is_the_sum_of_its_parts() -> None:
    lines = filters.mms_cost_table(WANTED, PRICES)
    total = next(line for line in lines if line.startswith("total"))
    balancer = (0.0225 + 2 * 0.005) * 730
    month = 4 * ((0.398 + 0.005) * 730 + 80 * 0.08) + balancer + 3.0 + 0.23 + 7 * 0.1 + 3
    assert float(total.split()[-1]) == pytest.approx(month, abs=0.01)
    assert PRICES["date"] in lines[-1]


def test_a_type_without_a_price_is_refused_with_the_fix() -> None:
    with pytest.raises(AnsibleFilterError, match=r"aws_plan_prices.*x9\.large"):
        filters.mms_cost_table(WANTED | {"type": "x9.large"}, PRICES)


def refused(code: str, call: str, rest: str = "no") -> str:
    return f"Failed: An error occurred ({code}) when calling the {call} operation: {rest}"


NOT_ALLOWED = "a is not authorized to perform: elasticfilesystem:CreateFileSystem on resource: *"


@pytest.mark.parametrize(
    ("action", "message", "parts"),
    [
        ("mms_efs", refused("AccessDeniedException", "CreateFileSystem", NOT_ALLOWED),
         ["CreateFileSystem", "lacks the right elasticfilesystem:CreateFileSystem"]),
        # AWS names what is really missing, where it can.
        ("amazon.aws.ec2_instance", refused("UnauthorizedOperation", "RunInstances",
         "b is not authorized to perform: iam:PassRole on resource: *"), ["right iam:PassRole"]),
        ("amazon.aws.ec2_vpc_net", refused("UnauthorizedOperation", "CreateVpc"),
         ["lacks the right ec2:CreateVpc"]),
        ("community.aws.elb_target", refused("AccessDenied", "RegisterTargets"),
         ["elasticloadbalancing:RegisterTargets"]),
        ("amazon.aws.cloudwatchlogs_log_group", refused("AccessDeniedException", "CreateLogGroup"),
         ["logs:CreateLogGroup"]),
        ("amazon.aws.s3_object", refused("403", "HeadObject"), ["s3:GetObject"]),
        ("amazon.aws.ec2_vpc_net", refused("VpcLimitExceeded", "CreateVpc"),
         ["CreateVpc", "VpcLimitExceeded", "Service Quotas"]),
        ("amazon.aws.ec2_vpc_net", refused("RequestLimitExceeded", "CreateVpc"), ["wait a minute"]),
        ("amazon.aws.ec2_instance", refused("InsufficientInstanceCapacity", "RunInstances"),
         ["aws_hosts_type"]),
        ("amazon.aws.aws_caller_info", "Unable to locate credentials", ["AWS_PROFILE"]),
        ("amazon.aws.iam_role", refused("ExpiredToken", "GetRole"), ["log in"]),
    ],
)  # fmt: skip
def test_a_refusal_names_call_right_and_fix(action: str, message: str, parts: list[str]) -> None:
    said = filters.mms_aws_error({"msg": message}, action)
    assert all(part in said for part in [*parts, "Fix: ", "run the same command again"]), said


def test_what_is_no_answer_of_aws_is_handed_on() -> None:
    said = filters.mms_aws_error({"msg": "disk full."}, "ansible.builtin.copy")
    assert said == "disk full. Then run the same command again: it continues where it stopped."


def test_of_a_loop_the_failed_turn_speaks() -> None:
    turns = [
        {"failed": False, "msg": "fine"},
        {"failed": True, "msg": "(AccessDenied) when calling the RunInstances operation: no"},
    ]
    assert "RunInstances" in filters.mms_aws_error({"msg": "One or more failed", "results": turns})


def test_tags_go_on_to_the_instances_of_a_group() -> None:
    assert filters.mms_group_tags({"a": "b"}) == [{"a": "b", "propagate_at_launch": True}]
