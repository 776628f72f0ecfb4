"""An account of the emulator: the environment for its callers, and a census of its resources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
import requests

from tests.aws.asked import Asked, noted
from tests.aws.balancer import Balancer, Targets
from tests.aws.loopback import CENSUS, balancer_address
from tests.ports import free_port
from tests.recap import recap_of

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
PLAY_TIMEOUT_S = 480


@dataclass
class Account:
    """The emulator's process, and its address."""

    process: subprocess.Popen[bytes]
    url: str
    record: Path
    _clients: dict[str, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def start(cls, directory: Path, address: str = "127.0.0.1") -> Account:
        """Start an emulator, on loopback or on the test hosts' network; wait until it answers."""
        port, record = free_port(), directory / "calls"
        for each in (record, record.with_suffix(".hosts")):
            each.touch()
            each.with_suffix(each.suffix + ".asked").touch()
        command = [sys.executable, "-m", "tests.aws.emulator", address, str(port), str(record)]
        with (directory / "emulator.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        url = f"http://{address}:{port}"
        end = time.monotonic() + 30
        while True:
            try:
                requests.get(f"{url}/moto-api/", timeout=2)
            except requests.ConnectionError:
                assert process.poll() is None, (directory / "emulator.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            else:
                return cls(process, url, record)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def empty(self) -> None:
        """Make it a new account without resources and without recorded calls."""
        requests.post(f"{self.url}/moto-api/reset", timeout=30)
        self.record.write_text("")
        self.record.with_suffix(".asked").write_text("")

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "ANSIBLE_"))
        }
        return kept | {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "2",
        }  # fmt: skip

    def client(self, service: str) -> Any:
        # Making a client is slow and not safe in several threads; using one is safe.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = boto3.client(
                    service, region_name=REGION, endpoint_url=self.url, aws_access_key_id=CENSUS,
                    aws_secret_access_key="test",  # noqa: S106 - the emulator's
                )  # fmt: skip
            return self._clients[service]

    def calls(self) -> set[str]:
        """Return all calls to the account so far, without those of its hosts."""
        return set(self.record.read_text(encoding="utf-8").split())

    def asked(self) -> list[Asked]:
        """Return the calls with their resources, where a policy distinguishes resources."""
        return noted(self.record.with_suffix(".asked"))

    def asked_by_hosts(self) -> list[Asked]:
        """Return the calls of instances with their resources."""
        return noted(self.record.with_suffix(".hosts.asked"))

    def calls_of_hosts(self) -> set[str]:
        """Return all calls of instances with their role."""
        return set(self.record.with_suffix(".hosts").read_text(encoding="utf-8").split())

    @contextmanager
    def refusing(self, call: str, code: str, message: str) -> Iterator[None]:
        """Let one call, as ``service:Action``, be refused with a code and a message of AWS."""
        told = self.record.with_suffix(".refused")
        told.write_text(json.dumps({call: [code, message]}))
        yield
        told.unlink()

    @contextmanager
    def balancing(self, address: tuple[str, int]) -> Iterator[None]:
        """Serve at the load balancer's name while hosts are registered, by one server for all."""
        balancer = Balancer(
            (self.balancer_address, 80), lambda: dict.fromkeys(self.targets(), address)
        )
        yield
        balancer.close()

    @contextmanager
    def balancing_hosts(self, addresses: Callable[[], dict[str, str]]) -> Iterator[None]:
        """Serve at the load balancer's name, by the hosts that are registered and healthy.

        ``addresses`` returns the address of each running instance by its id.
        """
        health = self.record.with_suffix(".health")

        def targets() -> Targets:
            known = addresses()
            return {each: (known[each], 80) for each in self.targets() if each in known}

        def tell(states: dict[str, str]) -> None:
            written = health.with_suffix(".new")
            written.write_text(json.dumps(states))
            written.replace(health)

        balancer = Balancer((self.balancer_address, 80), targets, tell)
        yield
        balancer.close()

    def targets(self) -> dict[str, str]:
        """Return the states of the targets, by instance id."""
        client = self.client("elbv2")
        return {
            each["Target"]["Id"]: each["TargetHealth"]["State"]
            for group in client.describe_target_groups()["TargetGroups"]
            for each in client.describe_target_health(TargetGroupArn=group["TargetGroupArn"])[
                "TargetHealthDescriptions"
            ]
        }

    @property
    def balancer_address(self) -> str:
        return balancer_address(int(self.url.rpartition(":")[2]))

    def inventory(self) -> dict[str, Any]:
        """Return the hosts of inventory/aws, as ansible-inventory prints them."""
        command = [
            str(Path(sys.executable).with_name("ansible-inventory")),
            "-i", str(ROOT / "inventory" / "aws"), "--list",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, timeout=60, check=True, capture_output=True
        )
        found: dict[str, Any] = json.loads(done.stdout, object_hook=_plain)
        return found

    def play(self, *arguments: str, timeout_s: int = PLAY_TIMEOUT_S) -> Play:
        """Run ansible-playbook on inventory/aws."""
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i", str(ROOT / "inventory" / "aws"), *arguments,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, timeout=timeout_s, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Play(done.returncode, done.stdout)

    def census(self) -> dict[str, list[str]]:
        """Return the account's resources, without those that every account has."""
        ec2, scaling = self.client("ec2"), self.client("autoscaling")
        balancing, files = self.client("elbv2"), self.client("efs")
        iam, watch = self.client("iam"), self.client("cloudwatch")
        networks = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]
        found = {
            "networks": networks,
            "subnets": [e["SubnetId"] for e in ec2.describe_subnets()["Subnets"]
                        if not e["DefaultForAz"]],
            "gateways": [e["InternetGatewayId"]
                         for e in ec2.describe_internet_gateways()["InternetGateways"]],
            "routes": [e["RouteTableId"] for e in ec2.describe_route_tables()["RouteTables"]
                       if e["VpcId"] in networks],
            "security groups": [e["GroupName"]
                                for e in ec2.describe_security_groups()["SecurityGroups"]
                                if e["GroupName"] != "default"],
            "keys": [e["KeyName"] for e in ec2.describe_key_pairs()["KeyPairs"]],
            "interfaces": [e["NetworkInterfaceId"]
                           for e in ec2.describe_network_interfaces()["NetworkInterfaces"]],
            "disks": [e["VolumeId"] for e in ec2.describe_volumes()["Volumes"]],
            "addresses": [e["PublicIp"] for e in ec2.describe_addresses()["Addresses"]],
            "instances": [i["InstanceId"] for r in ec2.describe_instances()["Reservations"]
                          for i in r["Instances"] if i["State"]["Name"] != "terminated"],
            "templates": [e["LaunchTemplateName"]
                          for e in ec2.describe_launch_templates()["LaunchTemplates"]],
            "scaling groups": [e["AutoScalingGroupName"] for e in
                               scaling.describe_auto_scaling_groups()["AutoScalingGroups"]],
            "scaling policies": [e["PolicyName"]
                                 for e in scaling.describe_policies()["ScalingPolicies"]],
            "load balancers": [e["LoadBalancerName"]
                               for e in balancing.describe_load_balancers()["LoadBalancers"]],
            "target groups": [e["TargetGroupName"]
                              for e in balancing.describe_target_groups()["TargetGroups"]],
            "file systems": [e["FileSystemId"]
                             for e in files.describe_file_systems()["FileSystems"]],
            "buckets": [e["Name"] for e in self.client("s3").list_buckets()["Buckets"]],
            "roles": [e["RoleName"] for e in iam.list_roles()["Roles"]
                      if not e["Path"].startswith("/aws-service-role")],
            "profiles": [e["InstanceProfileName"]
                         for e in iam.list_instance_profiles()["InstanceProfiles"]],
            "alarms": [e["AlarmName"] for e in watch.describe_alarms()["MetricAlarms"]],
            "dashboards": [e["DashboardName"]
                           for e in watch.list_dashboards()["DashboardEntries"]],
            "log groups": [e["logGroupName"]
                           for e in self.client("logs").describe_log_groups()["logGroups"]],
            "zones": [e["Name"]
                      for e in self.client("route53").list_hosted_zones()["HostedZones"]],
            "parameters": [e["Name"]
                           for e in self.client("ssm").describe_parameters()["Parameters"]],
        }  # fmt: skip
        return {kind: names for kind, names in found.items() if names}


def _plain(read: dict[str, Any]) -> Any:
    """Return the plain text of a text that Ansible has marked as unsafe for templating."""
    return read["__ansible_unsafe"] if read.keys() == {"__ansible_unsafe"} else read


@dataclass(frozen=True)
class Play:
    """The exit code and the output of a run of ansible-playbook."""

    status: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Return the counts of each host, by its name."""
        return recap_of(self.output)

    def ended_well(self) -> Play:
        assert self.status == 0, self.output[-6000:]
        return self

    @property
    def changed(self) -> int:
        return self.recap["localhost"]["changed"]
