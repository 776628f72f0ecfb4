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
    "storage_gib": 10, "alarms": 7,
}  # fmt: skip


def test_the_cost_is_the_sum_of_its_parts() -> None:
    lines = filters.mms_cost(WANTED, PRICES)
    total = next(line for line in lines if line.startswith("in all"))
    month = 4 * ((0.398 + 0.005) * 730 + 80 * 0.08) + 0.0225 * 730 + 3.0 + 0.23 + 7 * 0.1 + 3
    assert float(total.split()[-1]) == pytest.approx(month, abs=0.01)
    assert PRICES["date"] in lines[-1]


def test_a_type_without_a_price_is_refused_with_the_fix() -> None:
    with pytest.raises(AnsibleFilterError, match=r"aws_plan_prices.*x9\.large"):
        filters.mms_cost(WANTED | {"type": "x9.large"}, PRICES)


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (
            (
                "(AccessDeniedException) when calling the CreateFileSystem operation: a is not "
                "authorized to perform: elasticfilesystem:CreateFileSystem on resource: *"
            ),
            ["CreateFileSystem", "lacks elasticfilesystem:CreateFileSystem", "Fix:"],
        ),
        (
            "An error occurred (UnauthorizedOperation) when calling the CreateVpc operation: no.",
            ["lacks the right of CreateVpc"],
        ),
        (
            "An error occurred (VpcLimitExceeded) when calling the CreateVpc operation: maximum.",
            ["CreateVpc", "VpcLimitExceeded", "Service Quotas"],
        ),
        ("Unable to locate credentials", ["AWS_PROFILE"]),
        ("Something else.", ["Something else.", "Run again"]),
    ],
)
def test_a_refusal_names_call_right_and_fix(message: str, parts: list[str]) -> None:
    said = filters.mms_refusal({"msg": message})
    assert all(part in said for part in parts), said


def test_of_a_loop_the_failed_turn_speaks() -> None:
    turns = [
        {"failed": False, "msg": "fine"},
        {"failed": True, "msg": "(AccessDenied) when calling the RunInstances operation: no"},
    ]
    assert "RunInstances" in filters.mms_refusal({"msg": "One or more failed", "results": turns})


def test_tags_go_on_to_the_instances_of_a_group() -> None:
    assert filters.mms_group_tags({"a": "b"}) == [{"a": "b", "propagate_at_launch": True}]
