"""What serves is changed under steady load; no client may notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import lab
from tests.situations.conftest import Variant, service_file
from tests.situations.load import Load


def live(machine: lab.Machine) -> str:
    """Return where the live link of the digits model points."""
    return lab.on(machine, "readlink /run/mms/live/digits.sock")


def assert_all_answered(load: Load) -> None:
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


def add_a_note(members: dict[str, bytes]) -> None:
    members["note.txt"] = b"another archive, the same model\n"


def break_the_service(members: dict[str, bytes]) -> None:
    members[service_file(members)] = b'raise RuntimeError("this service cannot be loaded")\n'


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("as_before")
def test_update_of_a_model_loses_no_request(
    load: Load, machines: list[lab.Machine], variant: Callable[[Variant], list[str]]
) -> None:
    before = [live(machine) for machine in machines]
    arguments = variant(add_a_note)
    with load:
        load.wait_for_answers(40)
        done = lab.playbook("playbooks/update_models.yml", *arguments)
        load.wait_for_answers(40)
    assert done.returncode == 0, done.stdout
    assert all(live(machine) != old for machine, old in zip(machines, before, strict=True))
    assert_all_answered(load)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("as_before")
def test_release_that_does_not_get_ready_leaves_the_old_one(
    load: Load, machines: list[lab.Machine], variant: Callable[[Variant], list[str]]
) -> None:
    before = [live(machine) for machine in machines]
    arguments = variant(break_the_service)
    with load:
        load.wait_for_answers(40)
        done = lab.playbook("playbooks/update_models.yml", *arguments)
        load.wait_for_answers(40)
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    for part in (machines[0].name, "model digits, step", "this service cannot be loaded"):
        assert part in output
    assert "The hosts after it have not been touched" in output
    assert [live(machine) for machine in machines] == before
    for machine in machines:
        leftover = lab.on(machine, "systemctl list-units --all --plain --no-legend 'mms@*.service'")
        assert len(leftover.splitlines()) == 1, leftover
    assert_all_answered(load)


@pytest.mark.timeout(600)
def test_restart_loses_no_request(load: Load, machines: list[lab.Machine]) -> None:
    command = "systemctl show --property=MainPID --value 'mms@*.service'"
    before = [lab.on(machine, command) for machine in machines]
    with load:
        load.wait_for_answers(40)
        done = lab.playbook("playbooks/restart.yml")
        load.wait_for_answers(40)
    assert done.returncode == 0, done.stdout
    assert all(lab.on(m, command) != old for m, old in zip(machines, before, strict=True))
    assert_all_answered(load)


def test_releases_end_cleanly(machines: list[lab.Machine]) -> None:
    """Ending well is no crash: on Debian 12 the interpreter's own end aborts after a fork."""
    for machine in machines:
        since = "@" + lab.on(machine, "date +%s")
        lab.on(machine, "mms restart", timeout_s=300)
        said = lab.on(machine, f"journalctl --quiet -u 'mms@*.service' --since '{since}' -o cat")
        assert "Main process exited, code=killed" not in said


KILL = """
import os, signal, subprocess, sys, time
from pathlib import Path
from mms_server.layout import Layout
from mms_server.liveness import holders
release = sys.argv[1]
file = Layout().alive_file(release)
unit = f"mms@{release}.service"
master = subprocess.check_output(
    ["systemctl", "show", "--property=MainPID", "--value", unit], text=True, timeout=10).strip()
before = holders(file)
worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
os.kill(int(worker), signal.SIGKILL)
began = time.monotonic()
while len(holders(file)) < len(before) or holders(file) == before:
    if time.monotonic() - began > 20:
        sys.exit("the worker is not back after 20 s")
    time.sleep(0.005)
print(time.monotonic() - began)
"""


@pytest.mark.timeout(300)
def test_killed_worker_is_back_and_nobody_noticed(load: Load, machines: list[lab.Machine]) -> None:
    times: list[float] = []
    with load:
        load.wait_for_answers(40)
        for _ in range(5):
            for machine in machines:
                release = live(machine).rpartition("/")[2].removesuffix(".sock")
                seconds = lab.on(machine, f"/opt/mms/current/bin/python - {release}", stdin=KILL)
                times.append(float(seconds))
            load.wait_for_answers(10)
    assert max(times) < 1.0, times
    assert_all_answered(load)
