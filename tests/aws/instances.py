"""Test hosts for the running instances of the account, with their addresses and user data."""

from __future__ import annotations

import base64
import shlex
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from testhosts.host import Host
from testhosts.inventory import HostSpec
from testhosts.lab import Lab
from tests.aws.account import REGION, Account
from tests.aws.metadata import Metadata

EVERY_S = 1.0
MEMORY_MIB = 2048
OUTPUT = "/var/log/cloud-init-output.log"
# The names that AWS resolves in a network. The lab writes /etc/hosts at each boot.
NAMES = """\
[Service]
ExecStartPost=/bin/sh -c "cat /etc/hosts.network >> /etc/hosts"
"""


@dataclass
class Instances:
    """Follows the account: it boots hosts for running instances, and ends the others."""

    account: Account
    lab: Lab
    metadata: Metadata
    hosts: dict[str, Host] = field(default_factory=dict)
    """The host of each instance, by instance id."""
    _booting: list[Future[None]] = field(default_factory=list)
    _closed: threading.Event = field(default_factory=threading.Event)

    def problems(self) -> list[str]:
        """Return the errors of the boots of hosts."""
        done = [each for each in self._booting if each.done()]
        return [str(error) for each in done if (error := each.exception())]

    def addresses(self) -> dict[str, str]:
        """Return id -> private address."""
        return {identity: host.spec.address for identity, host in [*self.hosts.items()]}

    def follow(self) -> None:
        """Follow the account until closed; then end all hosts."""
        with ThreadPoolExecutor(4) as pool:
            while not self._closed.wait(EVERY_S):
                running = self._running()
                for gone in self.hosts.keys() - running.keys():
                    self.hosts.pop(gone).destroy()
                for identity in running.keys() - self.hosts.keys():
                    self.hosts[identity] = self._host(running[identity])
                    self._booting.append(pool.submit(self._boot, identity))
        for host in self.hosts.values():
            host.destroy()

    def close(self) -> None:
        self._closed.set()

    def _running(self) -> dict[str, str]:
        """Return id -> private address."""
        state = {"Name": "instance-state-name", "Values": ["running"]}
        found = self.account.client("ec2").describe_instances(Filters=[state])["Reservations"]
        return {
            each["InstanceId"]: each["PrivateIpAddress"]
            for reservation in found
            for each in reservation["Instances"]
        }

    def _host(self, address: str) -> Host:
        name = f"ip-{address.replace('.', '-')}"
        spec = HostSpec(name, address, MEMORY_MIB, self.lab.inventory.gateway)
        return Host(self.lab.state, name, spec, self.lab.build_image)

    def _boot(self, identity: str) -> None:
        """Boot the instance's host, and run its user data as cloud-init does."""
        host = self.hosts[identity]
        self.metadata.instances[host.spec.address] = identity
        host.create()
        systems = self.account.client("efs").describe_file_systems()["FileSystems"]
        names = "".join(
            f"{host.spec.gateway} {each['FileSystemId']}.efs.{REGION}.amazonaws.com\n"
            for each in systems
        )
        put(host, "/etc/hosts.network", names)
        put(host, "/etc/systemd/system/testhosts-network.service.d/names.conf", NAMES)
        put(host, "/var/lib/cloud/data/instance-id", identity + "\n")
        on(host, "cat /etc/hosts.network >> /etc/hosts")
        script = self._user_data(identity)
        if script:
            put(host, "/var/lib/cloud/instance/scripts/part-001", script)
            run = f"exec bash /var/lib/cloud/instance/scripts/part-001 >> {OUTPUT} 2>&1"
            on(host, f"systemd-run --quiet --unit=cloud-final sh -c {shlex.quote(run)}")

    def _user_data(self, identity: str) -> str:
        answer: dict[str, Any] = self.account.client("ec2").describe_instance_attribute(
            InstanceId=identity, Attribute="userData"
        )
        return base64.b64decode(answer["UserData"].get("Value", "")).decode()


def on(host: Host, command: str, *, timeout_s: float = 60.0) -> str:
    """Run a shell command as root on a host; return its output."""
    done = host.ssh(["sudo", "sh", "-c", command], timeout_s)
    assert done.returncode == 0, f"{host.name}: {command}: {done.stderr}"
    return done.stdout


def put(host: Host, path: str, text: str) -> None:
    """Write a file on a host."""
    encoded = base64.b64encode(text.encode()).decode()
    place = shlex.quote(path)
    on(host, f"mkdir -p $(dirname {place}) && echo {encoded} | base64 -d > {place}")


@contextmanager
def followed(account: Account, lab: Lab, metadata: Metadata) -> Iterator[Instances]:
    """Run hosts for the account's instances within the context."""
    instances = Instances(account, lab, metadata)
    thread = threading.Thread(target=instances.follow)
    thread.start()
    try:
        yield instances
    finally:
        instances.close()
        thread.join(timeout=300)
