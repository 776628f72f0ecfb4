"""IAM permissions: those that calls need, and those that the project's policies give.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from tests.aws.account import ROOT
from tests.aws.asked import Asked

POLICIES = ROOT / "roles" / "aws_access"
SERVICES = {"efs": "elasticfilesystem", "elbv2": "elasticloadbalancing"}
# Calls whose permission has another name.
NAMED = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:ListBucketInventoryConfigurations": "s3:GetInventoryConfiguration",
    # A multipart upload has no permission of its own.
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}
# Permissions that AWS requires in addition to that of the call.
IMPLIED = {
    # Tags that are set at the creation of a resource.
    "ec2:CreateVpc": {"ec2:CreateTags"},
    "iam:CreateRole": {"iam:TagRole"},
    "iam:CreateInstanceProfile": {"iam:TagInstanceProfile"},
    "efs:CreateFileSystem": {"elasticfilesystem:TagResource", "iam:CreateServiceLinkedRole"},
    "logs:CreateLogGroup": {"logs:TagResource"},
    "autoscaling:CreateAutoScalingGroup": {
        "autoscaling:CreateOrUpdateTags",
        "iam:CreateServiceLinkedRole",
    },
    "elbv2:CreateLoadBalancer": {"iam:CreateServiceLinkedRole"},
    # The instance profile of hosts is passed on.
    "ec2:RunInstances": {"iam:PassRole"},
    # A mount target is a network interface in a subnet.
    "efs:CreateMountTarget": {"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces"},
    "efs:DeleteMountTarget": {"ec2:DeleteNetworkInterface"},
    "s3:DeleteObjects": {"s3:DeleteObjectVersion"},
    # The present modules list the tags of log groups by the older call.
    "logs:ListTagsLogGroup": {"logs:ListTagsForResource"},
}
# With mms_aws_connection: ssm, by amazon.aws.aws_ssm and the session manager plugin, which the
# emulator has not: https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager.html
SESSIONS = {"ssm:StartSession", "ssm:TerminateSession", "s3:GetBucketLocation"}


def of_calls(calls: set[str]) -> set[str]:
    """Return the permissions that calls, as ``service:Action``, need."""
    found = set(SESSIONS)
    for call in calls:
        service, _, action = call.partition(":")
        found.add(NAMED.get(call, f"{SERVICES.get(service, service)}:{action}"))
        found |= IMPLIED.get(call, set())
    return found


def of_policy(policy: dict[str, Any]) -> set[str]:
    """Return the permissions that a policy gives; none of them may be a pattern."""
    found: set[str] = set()
    for statement in policy["Statement"]:
        found |= set(_list(statement["Action"]))
    assert not any("*" in each for each in found)
    return found


def refused(policy: dict[str, Any], asked: Iterable[Asked]) -> list[Asked]:
    """Return the calls that a policy does not allow for their resources."""
    return [each for each in asked if not _gives(policy, each)]


def _gives(policy: dict[str, Any], asked: Asked) -> bool:
    """Return whether a statement allows a call; a condition on an unknown key refuses it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    right, context = NAMED.get(asked.call, asked.call), dict(asked.context)
    for statement in policy["Statement"]:
        conditions = [
            (compares, key, values)
            for compares, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        ]
        assert statement["Effect"] == "Allow"
        assert {compares for compares, _, _ in conditions} <= {"StringEquals", "ArnEquals"}
        if (
            right in _list(statement["Action"])
            and any(fnmatchcase(asked.resource, each) for each in _list(statement["Resource"]))
            and all(context.get(key) in _list(values) for _, key, values in conditions)
        ):
            return True
    return False


def _list(one_or_more: str | list[str]) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else one_or_more


def policy_of_operator() -> dict[str, Any]:
    """Return the project's policy for an operator."""
    return _read("operator_policy.json")


def of_operator() -> set[str]:
    """Return the permissions of the project's policy for an operator."""
    return _of_file("operator_policy.json")


def of_host() -> set[str]:
    """Return the permissions of a host's role."""
    text = (POLICIES / "templates" / "host_policy.json.j2").read_text(encoding="utf-8")
    return of_policy(json.loads(text))


def of_choices(*names: str) -> set[str]:
    """Return the permissions for options beyond the defaults, by the names of their statements."""
    return _of_file("operator_policy_of_choices.json", names)


def _of_file(name: str, only: tuple[str, ...] = ()) -> set[str]:
    chosen = [each for each in _read(name)["Statement"] if not only or each["Sid"] in only]
    return of_policy({"Statement": chosen})


def _read(name: str) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads((POLICIES / "files" / name).read_text(encoding="utf-8"))
    return policy
