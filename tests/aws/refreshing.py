"""Instance refreshes, which moto does not have: at once, or one host after the other as in AWS.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from threading import Thread
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from tests.aws import living

REPLACED_WITHIN_S = 1500
LOOK_EVERY_S = 1.0

REFRESHES: dict[str, list[dict[str, Any]]] = {}


def group_of(response: Any) -> Any:
    name = response._get_param("AutoScalingGroupName")
    return response.autoscaling_backend.describe_auto_scaling_groups([name])[0]


def begun(group: Any) -> dict[str, Any]:
    """Return a new refresh of a group, the newest of all."""
    refresh = {
        "InstanceRefreshId": str(uuid.uuid4()), "AutoScalingGroupName": group.name,
        "Status": "InProgress", "PercentageComplete": 0,
        "InstancesToUpdate": len(group.instance_states),
    }  # fmt: skip
    REFRESHES.setdefault(group.name, []).insert(0, refresh)
    return refresh


def ended(refresh: dict[str, Any], status: str) -> None:
    done = {"PercentageComplete": 100, "InstancesToUpdate": 0} if status == "Successful" else {}
    refresh.update(Status=status, **done)


def at_once(self: Any) -> ActionResult:
    """Replace the group's instances at once."""
    group, backend = group_of(self), self.autoscaling_backend
    refresh = begun(group)
    wanted, old = group.desired_capacity, [state.instance.id for state in group.instance_states]
    backend.detach_instances(group.name, old, False)
    backend.ec2_backend.terminate_instances(old)
    backend.set_desired_capacity(group.name, wanted)
    ended(refresh, "Successful")
    return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})


def rolling(self: Any, health: Path) -> ActionResult:
    """Replace the group's instances one after the other, by new ones that serve."""
    group, preferences = group_of(self), self._get_param("Preferences", {})
    refresh = begun(group)
    arguments = (self.autoscaling_backend, group, preferences, refresh, health)
    Thread(target=roll, args=arguments, daemon=True).start()
    return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})


def roll(
    backend: Any, group: Any, preferences: dict[str, Any], refresh: dict[str, Any], health: Path
) -> None:
    """Replace them; with a maximum of 100 % of the group in service, the old one ends first."""
    first_the_new = int(preferences.get("MaxHealthyPercentage", 100)) > 100
    end = time.monotonic() + REPLACED_WITHIN_S
    for old in identities(group):
        before = set(identities(group))
        wanted = group.desired_capacity
        if not first_the_new:
            backend.terminate_instance(old, False)
        backend.set_desired_capacity(group.name, wanted + first_the_new)
        while not serving(set(identities(group)) - before, health):
            if time.monotonic() > end:
                ended(refresh, "Failed")
                return
            time.sleep(LOOK_EVERY_S)
        time.sleep(int(preferences.get("InstanceWarmup", 0)))
        if first_the_new:
            backend.terminate_instance(old, True)
        while old in identities(group):
            time.sleep(LOOK_EVERY_S)
    ended(refresh, "Successful")


def identities(group: Any) -> list[str]:
    return [state.instance.id for state in group.instance_states]


def serving(new: set[str], health: Path) -> bool:
    """Return whether a new instance has completed its hook, and the balancer finds it healthy."""
    found = json.loads(health.read_text()) if health.exists() else {}
    return any(each in living.SERVING and found.get(each) == "healthy" for each in new)


def described(self: Any) -> ActionResult:
    return ActionResult({"InstanceRefreshes": REFRESHES.get(group_of(self).name, [])})


def install(health: Path | None) -> None:
    """Install refreshes in the emulator; ``health`` is the balancer's file, None without hosts."""

    def living_hosts(self: Any) -> ActionResult:
        assert health is not None
        return rolling(self, health)

    start = at_once if health is None else living_hosts
    setattr(AutoScalingResponse, "start_instance_refresh", start)  # noqa: B010 - moto has no such
    setattr(AutoScalingResponse, "describe_instance_refreshes", described)  # noqa: B010
