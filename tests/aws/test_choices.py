"""Options beyond the defaults: an existing network, HTTPS, a DNS name, a key pair."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.aws import rights
from tests.aws.account import Account
from tests.aws.test_fleet import IMAGE, NAME, TEARDOWN, instances_of

pytestmark = pytest.mark.timeout(1800)

RECORD = "models.example.com"
PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2s0QmH0t1zvJ9d3cVhX1mXH3bX6D7rVZC2QF1vGm4x operator"
)


@dataclass(frozen=True)
class Owned:
    """Existing resources of the account, and the options that name them."""

    vpc: str
    subnets: list[str]
    zone: str
    certificate: str

    @classmethod
    def make(cls, account: Account) -> Owned:
        ec2 = account.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"us-east-1{letter}"
            )["Subnet"]["SubnetId"]
            for number, letter in enumerate("ab")
        ]
        zone = account.client("route53").create_hosted_zone(
            Name="example.com.", CallerReference="somebody"
        )["HostedZone"]["Id"]
        certificate = account.client("acm").request_certificate(DomainName=RECORD)["CertificateArn"]
        return cls(vpc, subnets, zone, certificate)

    def choices(self) -> dict[str, Any]:
        return {
            "aws_network_vpc_id": self.vpc,
            "aws_network_subnet_ids": self.subnets,
            "aws_network_ssh_from": ["203.0.113.7/32"],
            "aws_access_public_key": PUBLIC_KEY,
            "aws_load_balancer_certificate": self.certificate,
            "aws_dns_zone": "example.com",
            "aws_dns_record": RECORD,
            "aws_hosts_count": 2,
        }


@pytest.fixture
def owned(account: Account) -> Owned:
    return Owned.make(account)


def test_existing_resources_are_used_and_kept(
    account: Account, owned: Owned, tmp_path: Path
) -> None:
    before, network = account.census(), network_of(account, owned)
    values = tmp_path / "choices.json"
    values.write_text(json.dumps(owned.choices()))
    made = ["playbooks/provision.yml", "-e", "mms_cloud=aws", *IMAGE, "-e", f"@{values}"]
    account.play(*made, "--check", "--diff").ended_well()
    assert account.census() == before
    account.play(*made).ended_well()
    again = account.play(*made, "--diff").ended_well()
    assert again.changed == 0, again.output[-6000:]

    hosts = instances_of(account)
    assert {each["SubnetId"] for each in hosts} == set(owned.subnets)
    assert {each["KeyName"] for each in hosts} == {NAME}
    # Only security groups are added to the network.
    assert network_of(account, owned) == network
    assert_https(account, owned)
    assert [each["Name"] for each in aliases(account, owned)] == [f"{RECORD}."]

    account.play(*TEARDOWN, "-e", f"@{values}", "-e", f"confirm={NAME}").ended_well()
    assert account.census() == before
    assert network_of(account, owned) == network
    assert aliases(account, owned) == []
    needed = rights.of_calls(account.calls()) - rights.of_operator()
    assert needed == rights.of_choices("KeyPair", "Name")


def network_of(account: Account, owned: Owned) -> list[Any]:
    """Return the description of the network and its subnets."""
    ec2 = account.client("ec2")
    within = [{"Name": "vpc-id", "Values": [owned.vpc]}]
    names = [("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")]
    subnets = ec2.describe_subnets(Filters=within)["Subnets"]
    for each in subnets:
        # The number of free addresses depends on the resources in the subnet.
        del each["AvailableIpAddressCount"]
    return [
        ec2.describe_vpcs(VpcIds=[owned.vpc])["Vpcs"],
        [ec2.describe_vpc_attribute(VpcId=owned.vpc, Attribute=name)[key] for name, key in names],
        subnets,
        ec2.describe_route_tables(Filters=within)["RouteTables"],
        ec2.describe_network_acls(Filters=within)["NetworkAcls"],
    ]


def assert_https(account: Account, owned: Owned) -> None:
    balancing = account.client("elbv2")
    found = balancing.describe_load_balancers(Names=[NAME])["LoadBalancers"][0]
    assert found["VpcId"] == owned.vpc
    shown = balancing.describe_listeners(LoadBalancerArn=found["LoadBalancerArn"])["Listeners"]
    listeners = {each["Port"]: each for each in shown}
    assert listeners[443]["Certificates"][0]["CertificateArn"] == owned.certificate
    assert listeners[443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert listeners[443]["DefaultActions"][0]["Type"] == "forward"
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


def aliases(account: Account, owned: Owned) -> list[dict[str, Any]]:
    """Return the alias records of the zone."""
    rows = account.client("route53").list_resource_record_sets(HostedZoneId=owned.zone)
    return [each for each in rows["ResourceRecordSets"] if "AliasTarget" in each]
