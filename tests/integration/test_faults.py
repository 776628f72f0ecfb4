"""Faults: a lost share, a full or read-only disk, a clock that jumps. The host serves on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testhosts.lab import Lab
from tests import lab
from tests.integration import changes
from tests.integration.load import Load

OUTAGE_S = 60.0
NOTICED_S = 30.0
"""The longest wait of the server for a file system, in seconds."""


def assert_all_answered(load: Load) -> None:
    assert load.report.answers
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


@contextmanager
def server_stopped() -> Iterator[None]:
    share = Lab.open(lab.ROOT).nfs
    share.stop()
    try:
        yield
    finally:
        share.start()


@contextmanager
def network_cut() -> Iterator[None]:
    """Drop all packets of the hosts to the share, without an answer."""
    what = ("--source", "10.77.0.0/24", "--protocol", "tcp", "--dport", "2049")
    rule = ("INPUT", *what, "--jump", "DROP", "--wait", "10")
    subprocess.run(["iptables", "--insert", *rule], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["iptables", "--delete", *rule], check=True, timeout=30)


@pytest.mark.fleet
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "outage", [server_stopped, pytest.param(network_cut, marks=pytest.mark.soak)]
)
def test_a_lost_share_stops_updates_and_no_prediction(
    load: Load, machines: list[lab.Machine], outage: Callable[[], object]
) -> None:
    machine = machines[0]
    # The host's cache of the share would hide the outage for some time.
    lab.on(machine, "sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'")
    before = changes.releases(machine)
    with load:
        load.wait_for_answers(20)
        with outage():  # type: ignore[attr-defined]
            began = time.monotonic()
            done = changes.apply(machine, changes.SHARED_CONF, timeout_s=120)
            took = time.monotonic() - began
            assert changes.healthy(machine)
            time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - began)))
        load.wait_for_answers(20)
    assert done.returncode == 4, done
    assert "the file system did not answer within" in done.stderr
    assert "Fix: " in done.stderr
    assert took < NOTICED_S + 15
    assert_all_answered(load)
    assert changes.releases(machine) == before
    # It continues by itself when the share is back.
    changes.applied(machine, changes.SHARED_CONF)


def fill(machine: lab.Machine) -> None:
    """Fill the disk with the server's state; extents are allocated, not written."""
    lab.on(
        machine,
        "sh -c 'for size in 4G 1G 256M 64M 16M 4M 1M 64K 4K; do n=0; "
        "while fallocate --length $size /var/lib/mms/full.$size.$n 2>/dev/null; "
        "do n=$((n + 1)); done; done; rm -f /var/lib/mms/full.$size.$n; true'",
    )


@pytest.mark.timeout(300)
def test_a_full_disk_refuses_a_change_and_serves_on(
    load: Load, last: lab.Machine, tmp_path: Path
) -> None:
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    conf = changes.put(last, "words", {"digits": words})
    before = changes.releases(last)
    fill(last)
    try:
        with load:
            load.wait_for_answers(20)
            done = changes.apply(last, conf)
            assert changes.healthy(last)
            load.wait_for_answers(20)
    finally:
        lab.on(last, "sh -c 'rm -f /var/lib/mms/full.*'")
    assert done.returncode in (2, 4), done
    assert "No space left on device" in done.stderr
    assert "Fix: " in done.stderr
    assert_all_answered(load)
    assert changes.releases(last) == before
    changes.applied(last, conf)
    assert lab.predict(last)["class"] == "seven"


@pytest.mark.timeout(300)
def test_a_read_only_disk_refuses_a_change_and_serves_on(
    load: Load, last: lab.Machine, tmp_path: Path
) -> None:
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    conf = changes.put(last, "words", {"digits": words})
    before = changes.releases(last)
    lab.on(last, "mount --bind /var/lib/mms /var/lib/mms")
    lab.on(last, "mount --options remount,bind,ro /var/lib/mms")
    try:
        with load:
            load.wait_for_answers(20)
            done = changes.apply(last, conf)
            assert changes.healthy(last)
            load.wait_for_answers(20)
    finally:
        lab.on(last, "umount /var/lib/mms")
    assert done.returncode == 4, done
    assert "Read-only file system" in done.stderr
    assert "Fix: " in done.stderr
    assert_all_answered(load)
    assert changes.releases(last) == before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_no_request_fails_when_the_clock_jumps(load: Load, last: lab.Machine, jump_s: int) -> None:
    show = "systemctl show --property=MainPID,NRestarts 'mms@*.service' mms-control.service"
    before = lab.on(last, show)
    with load:
        load.wait_for_answers(20)
        lab.on(last, f"date --set '{jump_s} seconds'")
        try:
            load.wait_for_answers(80)
            assert changes.healthy(last)
            again = changes.apply(last, changes.SHARED_CONF)
        finally:
            lab.on(last, f"date --set '{-jump_s} seconds'")
        load.wait_for_answers(40)
    assert again.returncode == 0, again.stderr
    assert "Nothing to do" in again.stdout
    assert lab.on(last, show) == before
    assert_all_answered(load)
