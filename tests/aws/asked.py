"""The resources and contexts of calls to the emulator, where a policy distinguishes them.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

ACCOUNT = "123456789012"


class Asked(NamedTuple):
    """A call, as ``service:Action``; ``resource`` is an ARN, ``context`` are its condition keys."""

    call: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def of_bucket(call: str, bucket: str | None, key: str | None) -> Asked:
    """Return a call to S3, with its bucket or object."""
    return Asked(call, f"arn:aws:s3:::{bucket or ''}" + (f"/{key}" if key else ""))


def of_parameters(call: str, response: Any) -> Asked | None:
    """Return a call to another service; None if no policy distinguishes its resources."""

    def parameter(name: str) -> str:
        return str(response._get_param(name) or "")

    if call.startswith("iam:"):
        # If a call names both, its permission is one for the profile.
        profile, role = parameter("InstanceProfileName"), parameter("RoleName")
        kind = f"instance-profile/{profile}" if profile else f"role/{role}"
        attached = parameter("PolicyArn")
        context = (("iam:PolicyARN", attached),) if attached else ()
        return Asked(call, f"arn:aws:iam::{ACCOUNT}:{kind}", context) if profile or role else None
    if call == "cloudwatch:PutMetricData":
        return Asked(call, "*", (("cloudwatch:namespace", parameter("Namespace")),))
    if call == "autoscaling:CompleteLifecycleAction":
        group = parameter("AutoScalingGroupName")
        place = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup"
        return Asked(call, f"{place}:0-0-0-0-0:autoScalingGroupName/{group}")
    return None


def note(file: Path, asked: Asked) -> None:
    """Append a call to a file, once."""
    line = json.dumps(asked)
    if line not in file.read_text(encoding="utf-8").splitlines():
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def noted(file: Path) -> list[Asked]:
    """Return the calls in a file."""
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        Asked(call, resource, tuple((name, value) for name, value in context))
        for call, resource, context in found
    ]
