"""Filters of the AWS roles: cost, tags of a scaling group, and what a refusal of AWS means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# AWS counts a month of 730 hours.
MONTH_H = 730

CALL = re.compile(r"\((?P<code>[\w.]+)\) when calling the (?P<call>\w+) operation")
# AWS names the right itself where it can.
RIGHT = re.compile(r"not authorized to perform:? (?P<right>[\w-]+:\w+)")
# S3 answers questions about one object (HEAD) with a status only.
DENIED = re.compile(r"AccessDenied|Unauthorized|NotAuthorized|^403$")
CREDENTIALS = re.compile(
    r"Unable to locate credentials|ExpiredToken|InvalidClientTokenId|AuthFailure|SignatureDoes"
)
CAUSES = (
    (re.compile(r"RequestLimitExceeded|Throttling|TooManyRequests"),
     "AWS takes no more calls at the moment. Fix: wait a minute."),
    (re.compile(r"Insufficient\w*Capacity"),
     "the zone has no such instances. Fix: take another aws_hosts_type, or aws_network_subnets."),
    (re.compile(r"LimitExceeded|Quota|TooMany"),
     "a quota of the account is used up. Fix: ask for more in Service Quotas, or use less."),
)  # fmt: skip
AGAIN = "Then run the same command again: it goes on where it stopped."
# How a module's name begins, and the service of the rights that it needs.
SERVICES = {
    "ec2": "ec2", "elb": "elasticloadbalancing", "autoscaling": "autoscaling", "iam": "iam",
    "s3": "s3", "cloudwatchlogs": "logs", "cloudwatch": "cloudwatch", "route53": "route53",
    "mms_efs": "elasticfilesystem", "mms_dashboard": "cloudwatch", "aws_caller": "sts",
}  # fmt: skip
# Rights that are not named as the call is.
RIGHTS = {
    "ListObjectsV2": "ListBucket", "ListObjects": "ListBucket", "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
}  # fmt: skip


def mms_cost(wanted: Mapping[str, Any], prices: Mapping[str, Any]) -> list[str]:
    """Return the lines of the plan: what is to be there, and its price by the hour and month.

    Raises:
        AnsibleFilterError: the type has no price.
    """
    kind, hosts = str(wanted["type"]), int(wanted["hosts"])
    price = prices["instances"].get(kind)
    if price is None:
        message = (
            f"There is no price for {kind}. Fix: set aws_plan_prices, for example "
            f"{{instances: {{{kind}: 0.40}}}}, by https://aws.amazon.com/ec2/pricing/on-demand/"
        )
        raise AnsibleFilterError(message)
    size, disk = int(wanted["storage_gib"]), int(wanted["disk_gib"])
    host = price + prices["public_address"] + disk * prices["disk_gib"] / MONTH_H
    rows = [
        (f"{hosts} x {kind}, {disk} GiB", hosts * host),
        (f"load balancer in {wanted['zones']} zones",
         prices["load_balancer"] + int(wanted["zones"]) * prices["public_address"]),
        (f"EFS, {size} GiB", size * prices["efs_gib"] / MONTH_H),
        (f"S3, {size} GiB", size * prices["s3_gib"] / MONTH_H),
        ("alarms, dashboard",
         (int(wanted["alarms"]) * prices["alarm"] + prices["dashboard"]) / MONTH_H),
    ]  # fmt: skip
    total = sum(row[1] for row in rows)
    lines = [f"{wanted['name']}: USD an hour, and a month of {MONTH_H} hours"]
    lines += [
        f"{what:<36} {hour:9.4f} {hour * MONTH_H:10.2f}"
        for what, hour in [*rows, ("in all", total)]
    ]
    more = int(wanted["more_hosts"])
    if more:
        lines.append(
            f"and for each of at most {more} hosts more {host:8.4f} {host * MONTH_H:10.2f}"
        )
    lines.append(
        f"Prices of {prices['date']} in {prices['region']}. Not in it, for it depends on use: "
        "traffic, requests, reads and writes of EFS, metrics of the models, tax."
    )
    return lines


def mms_group_tags(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return tags in the form of an auto-scaling group, passed on to its instances."""
    return [{name: value, "propagate_at_launch": True} for name, value in tags.items()]


def mms_refusal(result: Mapping[str, Any], action: str = "") -> str:
    """Return what a failed task means: the call, what it lacks (right or quota), and the fix.

    ``result`` is the task's (``ansible_failed_result``), ``action`` the name of its module, which
    says the service of a right that AWS does not name.
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
            f"{named}: who runs this lacks the right {missing}. Fix: allow it to this user or role "
            f"(docs/aws.md has the whole list). {AGAIN}"
        )
    if CREDENTIALS.search(text):
        return (
            "AWS does not know who runs this. Fix: log in (`aws sso login`), or set AWS_PROFILE, "
            f"or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. {AGAIN}"
        )
    for pattern, cause in CAUSES:
        if pattern.search(code):
            return f"{named}: {cause} {AGAIN}"
    return f"{result.get('msg', 'it failed')!s} {AGAIN}"


def service_of(action: str) -> str:
    """Return the service that a module speaks to, by its name in rights; ``*`` if not known."""
    name = action.rsplit(".", 1)[-1]
    known = [start for start in SERVICES if name.startswith(start)]
    return SERVICES[max(known, key=len)] if known else "*"


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "mms_cost": mms_cost,
            "mms_group_tags": mms_group_tags,
            "mms_refusal": mms_refusal,
        }
