"""A file system of EFS is kept as described, unmounted, and removed, in time."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.unit.roles.modules import load

module: Any = load("aws_storage", "mms_efs")


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        ec2: Any = boto3.client("ec2", region_name="us-east-1")
        network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=network, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{'ab'[n]}"
            )["Subnet"]["SubnetId"]
            for n in (0, 1)
        ]
        group = ec2.create_security_group(GroupName="efs", Description="efs", VpcId=network)
        yield {
            "throughput": "elastic", "to_infrequent_days": 0, "subnets": subnets,
            "security_groups": [group["GroupId"]], "tags": {"Name": "mms"},
        }  # fmt: skip


def system(*, apply: bool = True, timeout_s: float = 5, **kwargs: Any) -> Any:
    client = boto3.client("efs", region_name="us-east-1")
    return module.FileSystem(client, "mms", apply=apply, timeout_s=timeout_s, **kwargs)


def kept(wanted: dict[str, Any], **kwargs: Any) -> list[str]:
    it = system(**kwargs)
    it.ensure(wanted)
    changes: list[str] = it.changes
    return changes


def test_check_real_check_real(wanted: Any) -> None:
    assert len(kept(wanted, apply=False)) == 3
    assert not system().find()
    assert len(kept(wanted)) == 3
    assert system().find()["Encrypted"]
    assert kept(wanted, apply=False) == []
    assert kept(wanted) == []


def test_what_differs_is_changed_and_nothing_else(wanted: Any) -> None:
    kept(wanted)
    other = wanted | {
        "tags": {"Owner": "x"}, "to_infrequent_days": 30, "subnets": wanted["subnets"][:1],
    }  # fmt: skip
    assert len(kept(other)) == 4
    assert kept(other) == []


def test_unmounted_it_keeps_its_files_and_absent_it_is_gone_twice(wanted: Any) -> None:
    kept(wanted)
    it = system()
    it.unmount()
    assert it.targets(it.find()["FileSystemId"]) == []
    for expected in (1, 0):
        it = system()
        it.remove()
        assert len(it.changes) == expected
    assert not it.find()


def test_a_wait_ends_in_time_and_says_so(wanted: Any) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    it = system(timeout_s=10, clock=lambda: now[0], sleep=sleep)
    with pytest.raises(module.EfsError, match=r"within 10 s\. Fix:"):
        it._wait("be available", lambda: False)
    assert now[0] == 10
