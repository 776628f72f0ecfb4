"""Failures during an update: no request through the balancer fails."""

from __future__ import annotations

import signal

import pytest

from testhosts.lab import Lab
from tests import lab
from tests.integration import changes
from tests.integration.conftest import service_file
from tests.integration.fleet.conftest import Behind, Change, Proof, Wanted, in_words
from tests.integration.test_fleet import fleet

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

UPDATE = "playbooks/update_models.yml"
SLOWER = b"""
import time

from mms.model_service import mxnet_vision_service


class Slower(mxnet_vision_service.MXNetVisionService):
    answered = 0

    def _inference(self, data):
        Slower.answered += 1
        if Slower.answered > 20:
            time.sleep(0.5)
        return super()._inference(data)
"""


def break_the_service(members: changes.Members) -> None:
    members[service_file(members)] = b'raise RuntimeError("this service cannot be loaded")\n'


def get_slower(members: changes.Members) -> None:
    members[service_file(members)] = SLOWER


@pytest.mark.parametrize(
    "failing",
    [
        (break_the_service, "this service cannot be loaded"),
        (get_slower, "p99"),
    ],
    ids=["bad archive", "slower under traffic"],
)
def test_a_bad_model_is_reverted(
    behind: Behind, proof: Proof, served: list[str], wanted: Wanted, failing: tuple[Change, str]
) -> None:
    change, cause = failing
    behind.play("update_models", *served)
    before = [changes.releases(machine) for machine in behind.machines]
    approved = fleet(behind.machines[0], "state")["approved"]
    wanted.archives = {"digits": change}
    with proof(f"update that fails: {cause}"):
        done = lab.playbook(UPDATE, *behind.arguments, *wanted.arguments())
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert cause in output.partition("FAILED:")[2], done.stdout
    assert f"The share holds publication {approved} again." in output, done.stdout
    assert [changes.releases(machine) for machine in behind.machines] == before


def test_a_host_that_dies_is_updated_when_it_is_back(
    behind: Behind, proof: Proof, served: list[str], wanted: Wanted
) -> None:
    behind.play("update_models", *served)
    canary, *others = behind.machines
    victim = others[-1]
    power = Lab.open(lab.ROOT).host(victim.name)
    before = changes.live(canary)
    wanted.archives = {"digits": in_words("a host dies")}
    with proof("a host dies in an update"):
        run = lab.start_playbook(UPDATE, *behind.arguments, *wanted.arguments())
        try:
            changes.wait_until(lambda: changes.live(canary) != before, "the canary changes", 300)
            power.kill()
            lab.disconnect(victim)
            output, _ = run.communicate(timeout=900)
        finally:
            run.kill()
            power.start()
        changes.wait_until(lambda: changes.healthy(victim), "healthy after its death", 180)
        # No run contacts it: its timer fires.
        wanted_release = changes.releases(canary)
        changes.wait_until(
            lambda: changes.releases(victim) == wanted_release, "the host heals itself", 400
        )
    assert run.returncode is not None
    assert victim.name in output.rpartition("Done:")[2], output
    assert changes.releases(others[0]) == wanted_release


def test_a_run_stopped_by_ctrl_c_is_completed_by_the_next(
    behind: Behind, proof: Proof, served: list[str], wanted: Wanted
) -> None:
    behind.play("update_models", *served)
    canary, *others = behind.machines
    before = [changes.live(machine) for machine in behind.machines]
    wanted.archives = {"digits": in_words("interrupted")}
    with proof("ctrl-C in an update, and the next run"):
        run = lab.start_playbook(UPDATE, *behind.arguments, *wanted.arguments())
        try:
            changes.wait_until(lambda: changes.live(canary) != before[0], "the canary changes", 300)
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=120)
        finally:
            run.kill()
        assert run.returncode != 0
        assert [changes.live(machine) for machine in others] == before[1:]
        state = fleet(canary, "state")
        assert state["approved"] != state["current"]
        behind.play("update_models", *wanted.arguments())
    assert fleet(canary, "state")["lease"] is None
    assert len({changes.releases(machine)["digits"] for machine in behind.machines}) == 1
    assert changes.live(canary) != before[0]


def test_the_shared_file_system_goes_away(
    behind: Behind, proof: Proof, served: list[str], wanted: Wanted
) -> None:
    behind.play("update_models", *served)
    canary = behind.machines[0]
    before = [changes.releases(machine) for machine in behind.machines]
    nfs = Lab.open(lab.ROOT).nfs
    wanted.archives = {"digits": in_words("no share")}
    with proof("the shared file system is away in an update"):
        run = lab.start_playbook(UPDATE, *behind.arguments, *wanted.arguments())
        try:
            changes.wait_until(
                lambda: changes.releases(canary) != before[0], "the canary changes", 300
            )
            nfs.stop()
            output, _ = run.communicate(timeout=900)
        finally:
            run.kill()
            nfs.start()
        # However far the run got, the next one completes it.
        behind.play("update_models", *wanted.arguments())
    assert run.returncode != 0, output
    assert "share" in output.rpartition("FAILED")[2], output
    assert len({changes.releases(machine)["digits"] for machine in behind.machines}) == 1
    assert fleet(canary, "state")["lease"] is None


def test_of_two_operators_one_is_refused(
    behind: Behind, proof: Proof, served: list[str], wanted: Wanted
) -> None:
    behind.play("update_models", *served)
    wanted.archives = {"digits": in_words("two operators")}
    with proof("two operators at once"):
        first = lab.start_playbook(UPDATE, *behind.arguments, *wanted.arguments())
        try:
            changes.wait_until(
                lambda: fleet(behind.machines[0], "state")["lease"] is not None, "a lease", 120
            )
            second = lab.playbook(UPDATE, *behind.arguments, *served)
            output, _ = first.communicate(timeout=900)
        finally:
            first.kill()
    assert first.returncode == 0, output
    assert second.returncode != 0
    assert "the fleet is being changed by" in " ".join(second.stdout.split()), second.stdout
