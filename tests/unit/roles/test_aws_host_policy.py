"""What a host may do in AWS against what its programs call, as their text says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from tests.aws import rights
from tests.aws.asked import Asked

ROOT = Path(__file__).resolve().parents[3]
RIGHTS_OF_COMMANDS = {
    "s3 cp": {"s3:GetObject"},
    "autoscaling complete-lifecycle-action": {"autoscaling:CompleteLifecycleAction"},
}
# No call has these names: a version is named by an argument, and without the right to list, S3
# answers 403 instead of 404 for an object that is missing.
WITH_GET_OBJECT = {"s3:GetObjectVersion", "s3:ListBucket"}


def of_server() -> set[str]:
    """Return the rights of the calls in the server's code, by the names that botocore gives."""
    session = botocore.session.get_session()
    named = {
        xform_name(operation): f"{service}:{operation}"
        for service in ("s3", "cloudwatch")
        for operation in session.get_service_model(service).operation_names
    }
    found = set()
    for file in (ROOT / "mms_server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found |= {named[node.func.attr]} if node.func.attr in named else set()
    return found


def of_start() -> set[str]:
    """Return the rights of the commands in the script by which a host starts."""
    found: set[str] = set()
    for file in (ROOT / "roles/aws_autoscaling/templates").iterdir():
        text = file.read_text(encoding="utf-8")
        for command in re.findall(r"^aws (\S+ [a-z-]+)", text, re.MULTILINE):
            found |= RIGHTS_OF_COMMANDS[command]
    return found


def test_a_host_may_do_what_it_does_and_no_more() -> None:
    used = of_server() | of_start()
    assert "s3:GetObject" in of_server()
    assert rights.of_host() == used | WITH_GET_OBJECT


ROLE = "arn:aws:iam::123456789012:role/"
MANAGED = "arn:aws:iam::aws:policy/"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (Asked("iam:PutRolePolicy", f"{ROLE}mms-production"), True),
        (Asked("iam:PutRolePolicy", f"{ROLE}administrator"), False),
        (Asked("iam:PassRole", f"{ROLE}administrator"), False),
        (Asked("s3:PutObject", "arn:aws:s3:::mms-production-123456789012/bundles/a"), True),
        (Asked("s3:PutObject", "arn:aws:s3:::backups/a"), False),
        (
            Asked(
                "iam:AttachRolePolicy",
                f"{ROLE}mms-production",
                (("iam:PolicyARN", f"{MANAGED}AmazonSSMManagedInstanceCore"),),
            ),
            True,
        ),
        (
            Asked(
                "iam:AttachRolePolicy",
                f"{ROLE}mms-production",
                (("iam:PolicyARN", f"{MANAGED}AdministratorAccess"),),
            ),
            False,
        ),
        (Asked("iam:AttachRolePolicy", f"{ROLE}mms-production"), False),
    ],
)
def test_an_operator_may_touch_what_is_of_the_project(asked: Asked, given: bool) -> None:
    assert rights.refused(rights.policy_of_operator(), [asked]) == ([] if given else [asked])
