#!/usr/bin/python
"""Ansible module: create, update or delete an EFS file system and its mount targets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)

DOCUMENTATION = r"""
module: mms_efs
short_description: Manage an EFS file system and its mount targets
description:
  - The file system is encrypted and is found by its creation token. Supports check mode; every
    wait has a time limit.
options:
  name:
    description: Creation token of the file system.
    type: str
    required: true
  state:
    description: >-
      Whether the file system should exist, exist without mount targets, or not exist.
    type: str
    choices: [present, unmounted, absent]
    default: present
  throughput:
    description: Throughput mode.
    type: str
    choices: [elastic, bursting]
    default: elastic
  to_infrequent_days:
    description: Days without a read after which a file moves to the cheaper class; 0 for never.
    type: int
    default: 0
  subnets:
    description: Subnets that get a mount target. Mount targets in other subnets are removed.
    type: list
    elements: str
    default: []
  security_groups:
    description: Security groups of the mount targets.
    type: list
    elements: str
    default: []
  tags:
    description: All tags of the file system. Other tags are removed.
    type: dict
    default: {}
  timeout_s:
    description: Time limit of each wait, in seconds.
    type: int
    default: 600
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Create the file system
  mms_efs:
    name: mms-production
    subnets: [subnet-0123456789abcdef0]
    security_groups: [sg-0123456789abcdef0]
"""

RETURN = r"""
changes:
  description: The changes, in check mode the planned ones.
  returned: success
  type: list
efs:
  description: The file system at the end, as DescribeFileSystems returns it; empty if none.
  returned: success
  type: dict
"""


class EfsError(Exception):
    """The file system cannot be brought to the desired state; the message names cause and fix."""


class FileSystem:
    """One file system, found by its creation token; without ``apply`` nothing is changed."""

    def __init__(
        self, client: Any, name: str, *, apply: bool, timeout_s: float,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._client = client
        self._name = name
        self._apply = apply
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self.changes: list[str] = []

    def find(self) -> dict[str, Any]:
        """Return the description by AWS; empty if the file system does not exist."""
        found = self._client.describe_file_systems(CreationToken=self._name)["FileSystems"]
        return dict(found[0]) if found else {}

    def targets(self, identity: str) -> list[dict[str, Any]]:
        """Return the mount targets that are not deleted."""
        found = self._client.describe_mount_targets(FileSystemId=identity)["MountTargets"]
        return [dict(each) for each in found if each["LifeCycleState"] != "deleted"]

    def ensure(self, wanted: dict[str, Any]) -> None:
        """Bring the file system to the state in the parameters of the module.

        Raises:
            EfsError: the existing file system is not encrypted, or a wait exceeded its limit.
        """
        if not self.find():
            self._do(f"create the file system {self._name}", lambda: self._create(wanted))
            if not self._apply:
                self.changes += [f"create a mount target in {each}" for each in wanted["subnets"]]
                return
        self._wait("be available", lambda: self.find().get("LifeCycleState") == "available")
        found = self.find()
        identity = found["FileSystemId"]
        if not found["Encrypted"]:
            message = (
                f"The file system {identity} ({self._name}) is not encrypted, and that cannot be "
                "changed. Fix: copy its content, remove the file system, and run again."
            )
            raise EfsError(message)
        if found.get("ThroughputMode") != wanted["throughput"]:
            self._do(
                f"throughput: {found.get('ThroughputMode')} -> {wanted['throughput']}",
                lambda: self._client.update_file_system(
                    FileSystemId=identity, ThroughputMode=wanted["throughput"]
                ),
            )
        self._ensure_tags(identity, wanted["tags"])
        self._ensure_lifecycle(identity, wanted["to_infrequent_days"])
        self._ensure_targets(identity, wanted["subnets"], sorted(wanted["security_groups"]))

    def unmount(self) -> None:
        """Remove the mount targets; the content of the file system stays.

        Raises:
            EfsError: a wait exceeded its limit.
        """
        found = self.find()
        if found:
            self._remove_targets(self.targets(found["FileSystemId"]))
            if self._apply:
                identity = found["FileSystemId"]
                self._wait("lose its mount targets", lambda: not self.targets(identity))

    def remove(self) -> None:
        """Remove the file system and its content.

        Raises:
            EfsError: a wait exceeded its limit.
        """
        self.unmount()
        found = self.find()
        if found:
            self._do(
                f"remove the file system {self._name}",
                lambda: self._client.delete_file_system(FileSystemId=found["FileSystemId"]),
            )
        if self._apply:
            self._wait("be gone", lambda: not self.find())

    def _do(self, change: str, act: Callable[[], Any]) -> None:
        self.changes.append(change)
        if self._apply:
            act()

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        end = self._clock() + self._timeout_s
        while not done():
            if self._clock() >= end:
                message = (
                    f"The file system {self._name} did not {what} within {self._timeout_s:g} s. "
                    "Fix: check its state in EFS, then run again: it continues where it stopped."
                )
                raise EfsError(message)
            self._sleep(2)

    def _create(self, wanted: dict[str, Any]) -> None:
        self._client.create_file_system(
            CreationToken=self._name, Encrypted=True, PerformanceMode="generalPurpose",
            ThroughputMode=wanted["throughput"],
            Tags=ansible_dict_to_boto3_tag_list(wanted["tags"]),
        )  # fmt: skip

    def _ensure_tags(self, identity: str, wanted: dict[str, str]) -> None:
        found = self._client.list_tags_for_resource(ResourceId=identity)["Tags"]
        put, drop = compare_aws_tags(boto3_tag_list_to_ansible_dict(found), wanted)
        if put:
            tags = ansible_dict_to_boto3_tag_list(put)
            self._do(
                f"tags: {', '.join(sorted(put))}",
                lambda: self._client.tag_resource(ResourceId=identity, Tags=tags),
            )
        if drop:
            self._do(
                f"remove the tags {', '.join(sorted(drop))}",
                lambda: self._client.untag_resource(ResourceId=identity, TagKeys=drop),
            )

    def _ensure_lifecycle(self, identity: str, days: int) -> None:
        unit = "DAY" if days == 1 else "DAYS"
        wanted = [{"TransitionToIA": f"AFTER_{days}_{unit}"}] if days else []
        found = self._client.describe_lifecycle_configuration(FileSystemId=identity)
        if found["LifecyclePolicies"] != wanted:
            self._do(
                f"lifecycle: {wanted or 'none'}",
                lambda: self._client.put_lifecycle_configuration(
                    FileSystemId=identity, LifecyclePolicies=wanted
                ),
            )

    def _ensure_targets(self, identity: str, subnets: list[str], groups: list[str]) -> None:
        found = {each["SubnetId"]: each for each in self.targets(identity)}
        for subnet in subnets:
            if subnet not in found:
                self._do(
                    f"create a mount target in {subnet}",
                    lambda subnet=subnet: self._client.create_mount_target(  # type: ignore[misc]
                        FileSystemId=identity, SubnetId=subnet, SecurityGroups=groups
                    ),
                )
                continue
            target = found.pop(subnet)["MountTargetId"]
            there = self._client.describe_mount_target_security_groups(MountTargetId=target)
            if sorted(there["SecurityGroups"]) != groups:
                self._do(
                    f"security groups of {target}",
                    lambda target=target: self._client.modify_mount_target_security_groups(  # type: ignore[misc]
                        MountTargetId=target, SecurityGroups=groups
                    ),
                )
        self._remove_targets(list(found.values()))
        if self._apply:
            self._wait("have its mount targets", lambda: self._are_available(identity))

    def _are_available(self, identity: str) -> bool:
        return all(each["LifeCycleState"] == "available" for each in self.targets(identity))

    def _remove_targets(self, targets: list[dict[str, Any]]) -> None:
        for each in targets:
            target = each["MountTargetId"]
            self._do(
                f"remove the mount target in {each['SubnetId']}",
                lambda target=target: self._client.delete_mount_target(MountTargetId=target),  # type: ignore[misc]
            )


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["present", "unmounted", "absent"],
                "default": "present",
            },
            "throughput": {
                "type": "str",
                "choices": ["elastic", "bursting"],
                "default": "elastic",
            },
            "to_infrequent_days": {"type": "int", "default": 0},
            "subnets": {"type": "list", "elements": "str", "default": []},
            "security_groups": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "dict", "default": {}},
            "timeout_s": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    # Imported here: AnsibleAWSModule has already checked that boto3 is installed.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    wanted = module.params
    system = FileSystem(
        module.client("efs"), wanted["name"],
        apply=not module.check_mode, timeout_s=wanted["timeout_s"],
    )  # fmt: skip
    acts = {"present": lambda: system.ensure(wanted), "unmounted": system.unmount}
    try:
        acts.get(wanted["state"], system.remove)()
        found = system.find()
    except EfsError as error:
        module.fail_json(msg=str(error))
    except (ClientError, BotoCoreError) as error:
        module.fail_json_aws(error, msg=f"EFS {wanted['name']}")
    found.pop("CreationTime", None)
    found.pop("SizeInBytes", None)
    described = camel_dict_to_snake_dict(found, ignore_list=["Tags"])
    diff = {"before": "", "after": "".join(f"{each}\n" for each in system.changes)}
    module.exit_json(changed=bool(system.changes), changes=system.changes, efs=described, diff=diff)


if __name__ == "__main__":
    main()
