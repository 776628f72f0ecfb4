"""The provider aws_alb against target groups, as moto has them: out, in, and again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.unit.roles.modules import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "mms_balancer", "tasks_from": f"{step}.yml"}}
            for step in ("in", "in", "out", "out", "in")
        ],
    }
]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield
    server.stop()


def make_targets() -> tuple[str, str]:
    """Return the ARN of a target group and the id of an instance."""
    ec2: Any = boto3.client("ec2")
    balancing: Any = boto3.client("elbv2")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    instances = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet)
    group = balancing.create_target_group(
        Name="mms", Protocol="HTTP", Port=80, VpcId=network, TargetType="instance"
    )
    arn: str = group["TargetGroups"][0]["TargetGroupArn"]
    identity: str = instances["Instances"][0]["InstanceId"]
    return arn, identity


def registered(arn: str) -> list[str]:
    balancing: Any = boto3.client("elbv2")
    rows = balancing.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [row["Target"]["Id"] for row in rows]


def run(tmp_path: Path, variables: dict[str, object]) -> subprocess.CompletedProcess[str]:
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump(PLAY))
    values = tmp_path / "values.yml"
    values.write_text(yaml.safe_dump(variables))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--inventory=localhost,",
        f"--extra-vars=@{values}",
        str(play),
    ]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "240",
    }
    return subprocess.run(
        command, cwd=tmp_path, env=environment, timeout=150, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.usefixtures("aws")
def test_out_and_in_and_again(tmp_path: Path) -> None:
    arn, identity = make_targets()
    variables = {
        "ansible_python_interpreter": sys.executable,
        "mms_balancer_provider": "aws_alb",
        "mms_balancer_target_groups": [arn],
        "mms_balancer_target": identity,
        "mms_balancer_timeout_s": 30,
    }
    done = run(tmp_path, variables)
    assert done.returncode == 0, done.stdout
    acts = re.findall(r"^(changed|ok): \[localhost.*\] => \(item=arn:", done.stdout, re.MULTILINE)
    assert acts == ["changed", "ok", "changed", "ok", "changed"]
    assert registered(arn) == [identity]


def test_a_balancer_that_is_not_named_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, {"mms_balancer_provider": "aws_alb"})
    assert done.returncode != 0
    assert "Fix: for haproxy set mms_balancer_haproxy_hosts" in " ".join(done.stdout.split())
