"""Behaviour of AWS for instances that really run; moto reports at once that all is done.

Targets have the health that the balancer finds (tests/aws/balancer.py; a JSON file has the state of
each id). A new host of a group becomes a target when it completes its launch hook. A host that ends
runs for the time of its termination hook:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
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

# Instances that have completed their launch hook, and those that are ending.
SERVING: set[str] = set()
LEAVING: set[str] = set()


def as_found(
    original: Callable[..., Any], self: Any, target: dict[str, Any], *rest: Any, health: Path
) -> Any:
    """Return the latest state that the balancer found."""
    told = original(self, target, *rest)
    found = json.loads(health.read_text()) if health.exists() else {}
    state = found.get(target["Id"])
    if target["Id"] in self.targets:
        told.status = "initial" if state in {None, "draining"} else state
    elif state is not None:
        # Also before the balancer has noticed the deregistration.
        told.status = "draining"
    told.reason, told.description = WHY.get(told.status), told.status
    return told


def hook_of(backend: Any, group: str, transition: str) -> Any:
    """Return the lifecycle hook of a group for a transition, or None."""
    hooks = backend.describe_lifecycle_hooks(group)
    return next((each for each in hooks if each.lifecycle_transition == transition), None)


def those_that_serve(_original: Callable[..., Any], self: Any, name: str) -> None:
    """Register the instances that do not wait for a launch hook."""
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
    """Register a new instance, which has completed its launch hook."""
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
    """Deregister an instance from its target groups, and end it after the time of its hook."""
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
    """Install this behaviour in the emulator; the balancer writes the file ``health``."""
    wrap(FakeTargetGroup, "health_for", partial(as_found, health=health))
    wrap(AutoScalingBackend, "update_attached_target_groups", those_that_serve)
    wrap(AutoScalingBackend, "terminate_instance", drained_first)
    setattr(AutoScalingResponse, complete_lifecycle_action.__name__, complete_lifecycle_action)
    # Outside of AWS, instances can be reached only at their private address.
    for name in ("public_ip", "public_ip_address"):
        setattr(Instance, name, property(lambda self: self.private_ip))
