"""What AWS does with instances that really run, where moto says at once that all is done.

Targets are as healthy as the balancer finds them (tests/aws/balancer.py, by a file of JSON: id to
state). A new host of a group is a target when it says that it serves, and one that ends stays for
as long as its hook says: https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import AutoScalingBackend, TerminateInstanceActivity
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.ec2.models.instances import Instance
from moto.elbv2.models import FakeTargetGroup

from tests.aws.wrapping import wrap

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
WHY = {
    "initial": "Elb.InitialHealthChecking",
    "unhealthy": "Target.FailedHealthChecks",
    "draining": "Target.DeregistrationInProgress",
    "unused": "Target.NotRegistered",
}

# Instances that said that they serve, and those on their way out.
SERVING: set[str] = set()
LEAVING: set[str] = set()


def as_found(
    original: Callable[..., Any], self: Any, target: dict[str, Any], *rest: Any, health: Path
) -> Any:
    """Return the state that the balancer found last."""
    told = original(self, target, *rest)
    found = json.loads(health.read_text()) if health.exists() else {}
    state = found.get(target["Id"])
    if target["Id"] in self.targets:
        told.status = "initial" if state in {None, "draining"} else state
    elif state is not None:
        # Also while the balancer has not heard of it.
        told.status = "draining"
    told.reason, told.description = WHY.get(told.status), told.status
    return told


def hook_of(backend: Any, group: str, transition: str) -> Any:
    """Return the group's hook of a transition, or None."""
    hooks = backend.describe_lifecycle_hooks(group)
    return next((each for each in hooks if each.lifecycle_transition == transition), None)


def those_that_serve(_original: Callable[..., Any], self: Any, name: str) -> None:
    """Register the instances that are not held back by a hook."""
    group = self.autoscaling_groups[name]
    held = hook_of(self, name, LAUNCHING) is not None
    ready = [
        {"Id": each.instance.id}
        for each in group.instance_states
        if each.instance.id not in LEAVING and (each.instance.id in SERVING or not held)
    ]
    for arn in group.target_group_arns:
        self.elbv2_backend.register_targets(arn, ready)


def complete_lifecycle_action(self: Any) -> ActionResult:
    """Let a new instance in, which says that it serves."""
    name, instance = self._get_param("AutoScalingGroupName"), self._get_param("InstanceId")
    hook = hook_of(self.autoscaling_backend, name, LAUNCHING)
    said = self._get_param("LifecycleHookName"), self._get_param("LifecycleActionResult")
    if hook is None or said != (hook.name, "CONTINUE"):
        raise ValidationError(f"No active Lifecycle Action found with instance ID {instance}")
    SERVING.add(instance)
    self.autoscaling_backend.update_attached_target_groups(name)
    return ActionResult({})


def drained_first(
    original: Callable[..., Any], self: Any, instance_id: str, should_decrement: bool
) -> Any:
    """Take an instance out of its target groups, and end it when its hook's time is over."""
    group = next(
        group
        for group in self.autoscaling_groups.values()
        if any(each.instance.id == instance_id for each in group.instance_states)
    )
    hook = hook_of(self, group.name, TERMINATING)
    LEAVING.add(instance_id)
    for arn in group.target_group_arns:
        self.elbv2_backend.deregister_targets(arn, [{"Id": instance_id}])
    wait_s = int(hook.heartbeat_timeout) if hook else 0
    Timer(wait_s, original, [self, instance_id, should_decrement]).start()
    instance = self.ec2_backend.get_instance(instance_id)
    return TerminateInstanceActivity(instance, group.desired_capacity)


def install(health: Path) -> None:
    """Change the emulator. ``health`` is what the balancer writes."""
    wrap(FakeTargetGroup, "health_for", partial(as_found, health=health))
    wrap(AutoScalingBackend, "update_attached_target_groups", those_that_serve)
    wrap(AutoScalingBackend, "terminate_instance", drained_first)
    setattr(AutoScalingResponse, complete_lifecycle_action.__name__, complete_lifecycle_action)
    # Outside of AWS, there is no way to them but their private address.
    for name in ("public_ip", "public_ip_address"):
        setattr(Instance, name, property(lambda self: self.private_ip))
