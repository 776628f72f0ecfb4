"""Jinja filters of the AWS roles: cost table, tags of an auto-scaling group, AWS errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# AWS counts a month of 730 hours.
MONTH_H = 730

CALL = re.compile(r"\((?P<code>[\w.]+)\) when calling the (?P<call>\w+) operation")
# Some error messages of AWS name the missing right.
RIGHT = re.compile(r"not authorized to perform:? (?P<right>[\w-]+:\w+)")
# For a HEAD request of an object, S3 returns only the status.
DENIED = re.compile(r"AccessDenied|Unauthorized|NotAuthorized|^403$")
CREDENTIALS = re.compile(
    r"Unable to locate credentials|ExpiredToken|InvalidClientTokenId|AuthFailure|SignatureDoes"
)
CAUSES = (
    (re.compile(r"RequestLimitExceeded|Throttling|TooManyRequests"),
     "AWS limits the rate of API calls. Fix: wait a minute."),
    (re.compile(r"Insufficient\w*Capacity"),
     ("no free instance of this type in the zone. "
      "Fix: change aws_hosts_type or aws_network_subnets.")),
    (re.compile(r"LimitExceeded|Quota|TooMany"),
     "a quota of the account is exhausted. Fix: request an increase in Service Quotas."),
)  # fmt: skip
AGAIN = "Then run the same command again: it continues where it stopped."
# Prefix of a module name: service of the rights that the module needs.
SERVICES = {
    "ec2": "ec2", "elb": "elasticloadbalancing", "autoscaling": "autoscaling", "iam": "iam",
    "s3": "s3", "cloudwatchlogs": "logs", "cloudwatch": "cloudwatch", "route53": "route53",
    "mms_efs": "elasticfilesystem", "mms_dashboard": "cloudwatch", "aws_caller": "sts",
}  # fmt: skip
# API calls whose right has another name.
RIGHTS = {
    "ListObjectsV2": "ListBucket", "ListObjects": "ListBucket", "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
}  # fmt: skip


def mms_cost_table(resources: Mapping[str, Any], prices: Mapping[str, Any]) -> list[str]:
    """Return the lines of the cost table: resources with their price per hour and per month.

    Raises:
        AnsibleFilterError: the price of the instance type is unknown.
    """
    instance_type, hosts = str(resources["type"]), int(resources["hosts"])
    price = prices["instances"].get(instance_type)
    if price is None:
        message = (
            f"There is no price for {instance_type}. Fix: set aws_plan_prices, for example "
            f"{{instances: {{{instance_type}: 0.40}}}}, from https://aws.amazon.com/ec2/pricing/on-demand/"
        )
        raise AnsibleFilterError(message)
    size, disk = int(resources["storage_gib"]), int(resources["disk_gib"])
    host = price + prices["public_address"] + disk * prices["disk_gib"] / MONTH_H
    rows = [
        (f"{hosts} x {instance_type}, {disk} GiB", hosts * host),
        (f"load balancer in {resources['zones']} zones",
         prices["load_balancer"] + int(resources["zones"]) * prices["public_address"]),
        (f"EFS, {size} GiB", size * prices["efs_gib"] / MONTH_H),
        (f"S3, {size} GiB", size * prices["s3_gib"] / MONTH_H),
        ("alarms, dashboard",
         (int(resources["alarms"]) * prices["alarm"] + prices["dashboard"]) / MONTH_H),
    ]  # fmt: skip
    total = sum(row[1] for row in rows)
    lines = [f"{resources['name']}: USD per hour, and per month of {MONTH_H} hours"]
    lines += [
        f"{name:<36} {hour:9.4f} {hour * MONTH_H:10.2f}" for name, hour in [*rows, ("total", total)]
    ]
    more = int(resources["more_hosts"])
    if more:
        label = f"each of at most {more} more hosts"
        lines.append(f"{label:<36} {host:9.4f} {host * MONTH_H:10.2f}")
    lines.append(
        f"Prices of {prices['date']} in {prices['region']}. Not included, because it "
        "depends on use: traffic, requests, EFS reads and writes, metrics of the models, tax."
    )
    return lines


def mms_group_tags(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return tags in the format of an auto-scaling group, propagated to its instances."""
    return [{name: value, "propagate_at_launch": True} for name, value in tags.items()]


def mms_aws_error(result: Mapping[str, Any], action: str = "") -> str:
    """Return the cause of a failed AWS task: the API call, the missing right or quota, and the fix.

    ``result`` is ``ansible_failed_result``. ``action`` is the name of the module; it gives the
    service of a right that AWS does not name.
    """
    text = " ".join(
        str(each.get(key, ""))
        for each in [result, *result.get("results", [])]
        if isinstance(each, Mapping) and (each is result or each.get("failed"))
        for key in ("msg", "exception")
    )
    found = CALL.search(text)
    code, call = (found["code"], found["call"]) if found else ("", "")
    named = f"{call} was refused ({code})" if found else "A call was refused"
    right = RIGHT.search(text)
    if right or DENIED.search(code):
        missing = right["right"] if right else f"{service_of(action)}:{RIGHTS.get(call, call)}"
        return (
            f"{named}: the current user or role lacks the right {missing}. Fix: grant it "
            f"(docs/aws.md has the complete list). {AGAIN}"
        )
    if CREDENTIALS.search(text):
        return (
            "AWS has no valid credentials. Fix: log in (`aws sso login`), or set AWS_PROFILE, "
            f"or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. {AGAIN}"
        )
    for pattern, cause in CAUSES:
        if pattern.search(code):
            return f"{named}: {cause} {AGAIN}"
    return f"{result.get('msg', 'the task failed')!s} {AGAIN}"


def service_of(action: str) -> str:
    """Return the service of a module, as rights name it; ``*`` if unknown."""
    name = action.rsplit(".", 1)[-1]
    known = [start for start in SERVICES if name.startswith(start)]
    return SERVICES[max(known, key=len)] if known else "*"


class FilterModule:
    """The class that Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "mms_cost_table": mms_cost_table,
            "mms_group_tags": mms_group_tags,
            "mms_aws_error": mms_aws_error,
        }
