"""Idempotence: a second run of a playbook changes nothing, and neither does check mode."""

from __future__ import annotations

import pytest

from tests import lab
from tests.integration import changes
from tests.integration.fleet.conftest import Behind, Wanted, in_words
from tests.integration.test_fleet import fleet
from tests.recap import recap_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

NEVER = "--extra-vars=mms_upgrade_reboot=never"


def changed(output: str) -> set[int]:
    """Return the distinct numbers of changed tasks of the hosts."""
    found = {counts["changed"] for counts in recap_of(output).values()}
    assert found, output
    return found


def as_it_is(behind: Behind) -> list[object]:
    """Return the state that a change would affect: releases, boots, the share."""
    hosts = behind.machines
    state = fleet(hosts[0], "state")
    return [
        [changes.releases(host) for host in hosts],
        [
            lab.on(host, "cat /proc/sys/kernel/random/boot_id /etc/nginx/nginx.conf")
            for host in hosts
        ],
        [state["approved"], state["current"], state["lease"]],
        lab.on(hosts[0], "sha256sum /efs/models/*.model /efs/models/mms.conf"),
    ]


@pytest.mark.parametrize("name", ["update_models", "balancer", "verify", "status", "upgrade"])
def test_a_second_run_changes_nothing(behind: Behind, served: list[str], name: str) -> None:
    behind.play(name, *served, NEVER)
    assert changed(behind.play(name, *served, NEVER)) == {0}


def test_configuring_again_changes_nothing(behind: Behind, served: list[str]) -> None:
    for turn in range(2):
        done = lab.playbook("site.yml", *behind.arguments, *served)
        assert done.returncode == 0, done.stdout
        assert turn == 0 or changed(done.stdout) == {0}, done.stdout
    assert "no drift" in behind.play("drift", *served, "--check").lower()


def test_a_second_rollback_changes_nothing(
    behind: Behind, served: list[str], wanted: Wanted
) -> None:
    behind.play("update_models", *served)
    before = [changes.releases(machine) for machine in behind.machines]
    wanted.archives = {"digits": in_words("to go back from")}
    behind.play("update_models", *wanted.arguments())
    behind.play("rollback")
    again = behind.play("rollback")
    assert changed(again) == {0}
    assert "is rolled back already" in again
    assert [changes.releases(machine) for machine in behind.machines] == before


def test_one_host_is_rolled_back_alone(behind: Behind, served: list[str], wanted: Wanted) -> None:
    behind.play("update_models", *served)
    first, *others = behind.machines
    before = changes.releases(first)
    wanted.archives = {"digits": in_words("one goes back")}
    arguments = wanted.arguments()
    behind.play("update_models", *arguments)
    new = changes.releases(first)
    behind.play("rollback", f"--limit={first.name}")
    assert changes.releases(first) == before
    assert [changes.releases(machine) for machine in others] == [new] * len(others)
    behind.play("update_models", *arguments)
    assert changes.releases(first) == new


def test_a_check_changes_nothing(behind: Behind, served: list[str], wanted: Wanted) -> None:
    behind.play("update_models", *served)
    before = as_it_is(behind)
    wanted.archives = {"digits": in_words("only asked")}
    asked = behind.play("update_models", *wanted.arguments(), "--check", "--diff")
    assert "digits" in asked
    for name in ("rollback", "restart", "upgrade", "balancer"):
        behind.play(name, *served, "--check", "--diff")
    assert as_it_is(behind) == before
