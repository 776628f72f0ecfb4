"""Restarts and killed workers under steady load: no request fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.crashes.backoff import FREE_DEATHS
from tests import lab
from tests.integration import changes
from tests.integration.load import Load

pytestmark = pytest.mark.fleet


def assert_all_answered(load: Load) -> None:
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


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
    """A clean end is no crash: on Debian 12 the interpreter's finalization aborts after a fork."""
    for machine in machines:
        since = "@" + lab.on(machine, "date +%s")
        lab.on(machine, "mms restart", timeout_s=300)
        # By its name: after a power cut with a broken journal file, a pattern finds no unit.
        unit = Path(changes.live(machine)).with_suffix(".service").name
        said = lab.on(machine, f"journalctl --quiet -u mms@{unit} --since '{since}' -o cat")
        assert "Started" in said
        assert "Main process exited, code=killed" not in said


KILL = """
import os, signal, subprocess, sys, time
from pathlib import Path
from mms_server.core.paths import Layout
from mms_server.host.process_liveness import live_slots
release = sys.argv[1]
file = Layout().alive_file(release)
unit = f"mms@{release}.service"
master = subprocess.check_output(
    ["systemctl", "show", "--property=MainPID", "--value", unit], text=True, timeout=10).strip()
before = live_slots(file)
worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
os.kill(int(worker), signal.SIGKILL)
began = time.monotonic()
while len(live_slots(file)) < len(before) or live_slots(file) == before:
    if time.monotonic() - began > 20:
        sys.exit("the worker is not back after 20 s")
    time.sleep(0.005)
print(time.monotonic() - began)
"""


@pytest.mark.timeout(300)
def test_a_killed_worker_is_replaced_and_no_request_fails(
    load: Load, machines: list[lab.Machine]
) -> None:
    times: list[float] = []
    with load:
        load.wait_for_answers(40)
        # If another worker dies within a minute, its restart is delayed.
        for _ in range(FREE_DEATHS):
            for machine in machines:
                release = changes.live(machine).rpartition("/")[2].removesuffix(".sock")
                seconds = lab.on(machine, f"/opt/mms/current/bin/python - {release}", stdin=KILL)
                times.append(float(seconds))
            load.wait_for_answers(10)
    assert max(times) < 1.0, times
    assert_all_answered(load)
