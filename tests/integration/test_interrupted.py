"""A change that is killed or cut by a power loss: the next change completes it."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from testhosts.lab import Lab
from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Request

# Kills the command when it reports the step with the given number, before the step.
KILLER = """
import os, signal, subprocess, sys
at, conf = int(sys.argv[1]), sys.argv[2]
command = ["mms", "apply", "--conf", conf]
with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
    for number, line in enumerate(run.stderr):
        print(line, end="", flush=True)
        if number == at:
            os.kill(run.pid, signal.SIGKILL)
            sys.exit()
sys.exit("it ended before step %d" % at)
"""


@pytest.fixture
def versions(last: lab.Machine, tmp_path: Path) -> list[str]:
    """Two mms.conf on the host's disk: the digits model that answers in figures, and in words."""
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    plain = changes.variant(tmp_path / "plain.model", lambda _members: None)
    return [
        changes.put(last, "plain", {"digits": plain}),
        changes.put(last, "words", {"digits": words}),
    ]


def settled(machine: lab.Machine) -> None:
    """Assert that the host serves one release and has nothing of others."""
    state = changes.status(machine)
    assert state["healthy"], state
    (row,) = state["models"]
    assert row["enabled"], state
    units = lab.on(machine, "systemctl list-units --failed --plain --no-legend 'mms*'")
    assert units == ""


@pytest.mark.timeout(1500)
def test_a_killed_change_is_done_by_the_next_one(
    last: lab.Machine, versions: list[str], every_step: bool
) -> None:
    changes.applied(last, versions[0])
    request = Request.of_image(last.address, "digits", lab.SEVEN, changes.a_seven)
    with Load([request], busy=2, idle=2) as load:
        at, new = 0, 1
        while True:
            command = f"/opt/mms/current/bin/python - {at} {versions[new]}"
            done = lab.run(last, command, stdin=KILLER, timeout_s=120)
            if done.returncode:
                assert f"it ended before step {at}" in done.stderr, done
                break
            assert changes.healthy(last), f"killed at step {at}: {done.stdout}"
            changes.applied(last, versions[new])
            settled(last)
            assert lab.predict(last)["class"] == ("7", "seven")[new], at
            new = 1 - new
            at += 1 if every_step else 3
    assert at > 8
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


@pytest.mark.timeout(900)
def test_a_power_cut_in_a_change(last: lab.Machine, versions: list[str], every_step: bool) -> None:
    host = Lab.open(lab.ROOT).host(last.name)
    changes.applied(last, versions[0])
    served = "7"
    for turn, after_s in enumerate((0.5, 2.0, 4.0, 6.0, 8.0, 10.0) if every_step else (1.5, 6.0)):
        new = 1 if served == "7" else 0
        change = threading.Thread(target=ignoring, args=(last, versions[new]), daemon=True)
        change.start()
        time.sleep(after_s)
        host.kill()
        lab.disconnect(last)
        host.start()
        changes.wait_until(lambda: changes.healthy(last), "healthy after the power cut", 180)
        best = lab.predict(last)["class"]
        assert best in ("7", "seven"), turn
        changes.applied(last, versions[new])
        settled(last)
        served = str(lab.predict(last)["class"])
        assert served == ("7", "seven")[new], turn
        change.join(60)


def ignoring(machine: lab.Machine, conf: str) -> None:
    """Run a change and ignore its end, because its host loses power."""
    try:
        changes.apply(machine, conf, timeout_s=60)
    except subprocess.TimeoutExpired:
        return
