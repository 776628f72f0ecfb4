"""The upgrade of a host behind a balancer, with a reboot: no request fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests import lab
from tests.integration.load import Load, Request

pytestmark = pytest.mark.fleet

PORT = 8100


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make the last host the balancer of all; yield the argument for playbooks."""
    balancer = lab.fleet()[-1]
    variables = {
        "mms_balancers": balancer.name,
        "haproxy_lb_group": lab.GROUP,
        "haproxy_lb_bind": [f"*:{PORT}"],
        "mms_balancer_provider": "haproxy",
        "mms_balancer_haproxy_hosts": [balancer.name],
        # The content of a package mirror is not tested.
        "mms_upgrade_packages": False,
        "mms_upgrade_reboot": "always",
    }
    values = tmp_path_factory.mktemp("balancer") / "values.json"
    values.write_text(json.dumps(variables), encoding="utf-8")
    argument = f"--extra-vars=@{values}"
    done = lab.playbook("playbooks/balancer.yml", argument)
    assert done.returncode == 0, done.stdout
    yield argument
    lab.on(balancer, "apt-get purge --yes --quiet=2 haproxy", timeout_s=300)


@pytest.fixture
def through(record_property: Callable[[str, object], None]) -> Iterator[Load]:
    """Clients of the balancer, not started yet."""
    address = f"{lab.fleet()[-1].address}:{PORT}"
    load = Load([Request.of_image(address, "digits", lab.SEVEN, "7")])
    yield load
    record_property("load", str(load.report))


def boots(machine: lab.Machine) -> str:
    return lab.on(machine, "cat /proc/sys/kernel/random/boot_id")


def answers(machine: lab.Machine) -> int:
    """Return the number of predictions that the host has answered, from its log."""
    return int(lab.on(machine, "grep --count digits/predict /var/log/nginx/access.log"))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_host_whose_upgrade_fails_gets_its_traffic_again(balanced: str, through: Load) -> None:
    """An upgrade that fails at its last step, then one that succeeds."""
    first = lab.fleet()[0]
    runtime = lab.on(first, "readlink /opt/mms/current")
    before = boots(first)
    wrong = "--extra-vars=mms_verify_class=3"
    with through:
        through.wait_for_answers(40)
        done = lab.playbook("playbooks/upgrade.yml", balanced, wrong)
        output = " ".join(done.stdout.split())
        # The successful upgrade may install another runtime: the hosts may have the last version.
        assert lab.on(first, "readlink /opt/mms/current") == runtime
        served = answers(first)
        through.wait_for_answers(80)
        # The balancer sends the host requests again.
        assert answers(first) > served
        good = lab.playbook("playbooks/upgrade.yml", balanced, f"--limit={first.name}")
        assert good.returncode == 0, good.stdout
        through.wait_for_answers(40)
    assert done.returncode != 0
    assert f"{first.name}: {first.name} answers" in output
    assert (
        "The host serves its old releases with its old runtime, and gets traffic again." in output
    )
    assert "The hosts after it have not been changed" in output
    # It reached the last step: it was changed, rebooted, and asked for a prediction.
    assert boots(first) != before
    assert not through.report.failed, through.report
    assert not through.report.wrong, through.report
