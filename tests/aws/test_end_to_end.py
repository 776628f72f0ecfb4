"""From an empty account to serving hosts, one of them started by its group, and to teardown.

The account is the emulator's. Its hosts are test hosts with the addresses of the instances. They
mount the test hosts' shared file system by the name that AWS gives.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testhosts.lab import Lab
from tests import lab
from tests.aws import rights
from tests.aws.account import REGION, ROOT, Account
from tests.aws.instances import OUTPUT, Instances, followed, on
from tests.aws.metadata import served
from tests.aws.test_fleet import IMAGE, NAME, TEARDOWN
from tests.integration import changes
from tests.integration.load import Load, Request

pytestmark = pytest.mark.timeout(5400)

WHOLE = bool(os.environ.get("MMS_SOAK"))
HOSTS = 2 if WHOLE else 1
"""The number of hosts with names; the host of the scaling group is added to them."""

DRAIN_S = 15
START_S = 1500
HEAL_S = 330
"""A host checks every five minutes whether it serves the fleet's publication."""


@pytest.fixture
def hosts_lab() -> Lab:
    opened = Lab.open(ROOT)
    opened.nfs.start()
    # The file system must be new.
    shutil.rmtree(opened.state.efs / "models", ignore_errors=True)
    return opened


@pytest.fixture
def living(tmp_path: Path, hosts_lab: Lab) -> Iterator[Account]:
    """An account at the gateway of the test hosts, so that its hosts can reach it."""
    account = Account.start(tmp_path, hosts_lab.inventory.gateway)
    yield account
    account.stop()


@pytest.fixture
def instances(living: Account, hosts_lab: Lab) -> Iterator[Instances]:
    with (
        served(hosts_lab.inventory.gateway, REGION, NAME) as metadata,
        followed(living, hosts_lab, metadata) as running,
        living.balancing_hosts(running.addresses),
    ):
        yield running


def choices(account: Account, opened: Lab, directory: Path) -> dict[str, Any]:
    """Return the options of deployment.yml, and those that differ from AWS.

    The bundle is made in ``directory``: other tests of AWS run at the same time.
    """
    network = opened.inventory.gateway.rpartition(".")[0]
    return {
        "aws_hosts_count": HOSTS,
        "aws_network_cidr": f"{network}.0/24",
        "aws_network_subnets": [
            {"zone": "a", "cidr": f"{network}.128/26"},
            {"zone": "b", "cidr": f"{network}.192/26"},
        ],
        "aws_network_ssh_from": [f"{opened.inventory.gateway}/32"],
        "aws_access_public_key": opened.state.ssh_key.with_suffix(".pub").read_text().strip(),
        "mms_aws_ssh_key": str(opened.state.ssh_key),
        # New hosts have the same addresses as earlier ones, with other host keys.
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "aws_load_balancer_deregistration_s": DRAIN_S,
        "aws_bundle_directory": str(directory / "bundle"),
        "aws_autoscaling_endpoints": {"s3": account.url, "autoscaling": account.url},
        "mms_verify_model": "digits",
        "mms_verify_file": str(lab.SEVEN),
        # As in the local fleet: the tests' load begins at once.
        "mms_fleet_soak_looks": 2,
        "mms_fleet_soak_pause_s": 4,
        "mms_upgrade_packages": False,
        "mms_upgrade_reboot": "always",
    }


def wait_for_targets(account: Account, count: int, instances: Instances, timeout_s: float) -> float:
    """Wait until ``count`` targets are registered and healthy; return the seconds."""
    began = time.monotonic()
    while (found := account.targets()) != dict.fromkeys(found, "healthy") or len(found) != count:
        assert not instances.problems(), instances.problems()
        assert time.monotonic() - began < timeout_s, found
        time.sleep(1)
    return time.monotonic() - began


def test_from_an_empty_account_to_hosts_that_serve(
    living: Account,
    instances: Instances,
    hosts_lab: Lab,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    values = tmp_path / "choices.json"
    values.write_text(json.dumps(choices(living, hosts_lab, tmp_path)))
    options = ["-e", "mms_cloud=aws", *IMAGE, "-e", f"@{values}"]
    living.play("site.yml", *options, timeout_s=1800).ended_well()
    assert living.targets() == dict.fromkeys(instances.hosts, "healthy")
    assert len(instances.hosts) == HOSTS

    request = Request.of_image(living.balancer_address, "digits", lab.SEVEN, changes.a_seven)
    with Load([request], busy=2, idle=8) as load:
        load.wait_for_answers(20)
        before = set(instances.hosts)
        scale_to(living, 1)
        # While the host starts, only its group manages it.
        if WHOLE:
            assert_unchanged(living, options)
        options += update(living, options, tmp_path)
        own = started_by_itself(living, instances, before, record_property)
        if WHOLE:
            # The host is equal to those that site.yml has configured.
            assert_unchanged(living, options)
        upgrade(living, instances, options, own)
        if WHOLE:
            own = refresh(living, instances, options, own)
        end_one(living, instances, own)
        load.wait_for_answers(40)
    record_property("load", str(load.report))
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report
    assert rights.of_calls(living.calls_of_hosts()) - rights.SESSIONS <= rights.of_host()
    assert {"s3:GetObject", "autoscaling:CompleteLifecycleAction"} <= {
        each.call for each in living.asked_by_hosts()
    }
    assert rights.refused(policy_of_hosts(living), living.asked_by_hosts()) == []
    used = rights.of_calls(living.calls())
    assert used <= rights.of_operator() | rights.of_choices("KeyPair", "Upgrades")
    assert rights.of_choices("Upgrades") <= used

    living.play(*TEARDOWN, "-e", f"@{values}", "-e", f"confirm={NAME}").ended_well()
    assert living.census() == {}


def policy_of_hosts(account: Account) -> dict[str, Any]:
    """Return the policy of the hosts' role."""
    found = account.client("iam").get_role_policy(RoleName=NAME, PolicyName="mms-host")
    policy: dict[str, Any] = found["PolicyDocument"]
    return policy


def assert_unchanged(account: Account, options: list[str]) -> None:
    again = account.play("site.yml", *options, timeout_s=900).ended_well()
    changed = {host: counts["changed"] for host, counts in again.recap.items()}
    assert changed == dict.fromkeys(again.recap, 0), again.output[-6000:]


def scale_to(account: Account, count: int) -> None:
    """Set the desired capacity of the group."""
    scaling = account.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=count)


def started_by_itself(
    account: Account,
    instances: Instances,
    before: set[str],
    record_property: Callable[[str, object], None],
) -> str:
    """Wait until a host serves that only its user data has configured; return its id."""
    try:
        took = wait_for_targets(account, HOSTS + 1, instances, START_S)
    except AssertionError:
        for identity in set(instances.hosts) - before:
            print(on(instances.hosts[identity], f"tail -n 60 {OUTPUT}"))  # noqa: T201 - why it failed
        raise
    record_property("seconds from the update until it is a target", round(took))
    (own,) = set(instances.hosts) - before
    assert_serves_the_update(instances, own)
    return own


def assert_serves_the_update(instances: Instances, identity: str) -> None:
    host = lab.Machine(identity, instances.hosts[identity].spec.address)
    end = time.monotonic() + HEAL_S
    while lab.predict(host)["class"] != "seven":
        assert time.monotonic() < end
        time.sleep(1)


def update(account: Account, options: list[str], directory: Path) -> list[str]:
    """Update the models while a host of the group starts; return the arguments of the update."""
    archives = directory / "archives"
    archives.mkdir()
    changes.variant(archives / "digits.model", changes.in_words)
    (archives / "mms.conf").write_text((lab.MODELS / "mms.conf").read_text())
    changed = [
        "-e", f"mms_service_conf={archives}/mms.conf", "-e", f"mms_service_archives={archives}",
        "-e", "mms_verify_class=seven",
    ]  # fmt: skip
    done = account.play("playbooks/update_models.yml", *options, *changed, timeout_s=900)
    recap = done.ended_well().recap
    assert len([host for host, counts in recap.items() if counts["changed"]]) == HOSTS, recap
    return changed


def upgrade(account: Account, instances: Instances, options: list[str], own: str) -> None:
    """Upgrade and reboot the named hosts outside of the load balancer, not the group's host."""
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = {identity: on(host, boot) for identity, host in instances.hosts.items()}
    account.play("playbooks/upgrade.yml", *options, timeout_s=1800).ended_well()
    after = {identity: on(host, boot) for identity, host in instances.hosts.items()}
    assert {identity for identity in before if before[identity] == after[identity]} == {own}
    wait_for_targets(account, HOSTS + 1, instances, 60)


def refresh(account: Account, instances: Instances, options: list[str], own: str) -> str:
    """Refresh the group: the new host serves before the old one is drained; return its id."""
    before = set(instances.hosts)
    account.play("playbooks/refresh.yml", *options, timeout_s=1800).ended_well()
    assert own not in account.targets()
    wait_for_targets(account, HOSTS + 1, instances, 60)
    (new,) = set(account.targets()) - before
    assert_serves_the_update(instances, new)
    return new


def end_one(account: Account, instances: Instances, own: str) -> None:
    """End the group's host as a scale-in does: it is drained first."""
    account.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=own, ShouldDecrementDesiredCapacity=True
    )
    assert own not in account.targets()
    end = time.monotonic() + DRAIN_S + 60
    while own in instances.hosts:
        assert time.monotonic() < end
        time.sleep(0.5)
