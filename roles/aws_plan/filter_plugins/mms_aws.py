"""Filters of the AWS roles: cost, tags of a scaling group, and what a refusal of AWS means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# AWS counts a month of 730 hours.
MONTH_H = 730


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
        ("load balancer, without traffic", prices["load_balancer"]),
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
        f"Prices of {prices['date']} in {prices['region']}; without traffic, requests and tax."
    )
    return lines


def mms_group_tags(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return tags in the form of an auto-scaling group, passed on to its instances."""
    return [{name: value, "propagate_at_launch": True} for name, value in tags.items()]


def mms_refusal(result: Mapping[str, Any]) -> str:
    """Return what a failed task means: the call, what it lacks (right or quota), and the fix."""
    text = " ".join(
        str(each.get(key, ""))
        for each in [result, *result.get("results", [])]
        if isinstance(each, Mapping) and (each is result or each.get("failed"))
        for key in ("msg", "exception")
    )
    call = re.search(r"when calling the (\w+) operation", text)
    code = re.search(r"\((\w[\w.]*)\) when calling", text)
    named = f"{call[1]} was refused ({code[1]})" if call and code else "A call was refused"
    right = re.search(r"not authorized to perform:? ([\w-]+:\w+)", text)
    if right or (code and re.search(r"AccessDenied|Unauthorized|NotAuthorized", code[1])):
        missing = right[1] if right else f"the right of {call[1]}" if call else "a right"
        return (
            f"{named}: who runs this lacks {missing}. Fix: allow it to this user or role "
            "and run again: it goes on where it stopped."
        )
    if code and re.search(r"LimitExceeded|Quota|TooMany|InsufficientInstanceCapacity", code[1]):
        return (
            f"{named}: a limit of the account or of the zone is reached. Fix: ask for more in "
            "Service Quotas, remove what is not needed, or take a smaller number or another type "
            "in the variables; then run again: it goes on where it stopped."
        )
    if re.search(r"Unable to locate credentials|ExpiredToken|InvalidClientTokenId", text):
        return (
            "AWS does not know who runs this. Fix: log in (`aws sso login`), or set AWS_PROFILE, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; then run again."
        )
    return f"{result.get('msg', 'it failed')!s} Run again: it goes on where it stopped."


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "mms_cost": mms_cost,
            "mms_group_tags": mms_group_tags,
            "mms_refusal": mms_refusal,
        }
