"""Golden samples, rollback to a warm release, and a gap, on a host under load."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.comparison import Tolerance
from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Request

WARM_S = 40
SETTINGS = "/etc/mms/mms.toml"
Record = Callable[[str, object], None]

# Kills the command when it reports a step that begins with the given words.
KILLER = """
import os, signal, subprocess, sys
conf, step = sys.argv[1:]
command = ["mms", "apply", "--conf", conf, "--allow-gap"]
with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
    for line in run.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        if step in line:
            os.kill(run.pid, signal.SIGKILL)
            sys.exit()
sys.exit("it ended before that step")
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return changes.variant(tmp_path / "words.model", changes.in_words)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return changes.variant(tmp_path / "plain.model", lambda _members: None)


@pytest.fixture
def either(last: lab.Machine) -> Request:
    """A request whose answer is right if it is completely of one version."""
    return Request.of_image(last.address, "digits", lab.SEVEN, changes.a_seven)


@pytest.fixture
def short_of_memory(last: lab.Machine) -> Iterator[None]:
    """A memory reserve so large that no second release fits."""
    available = int(lab.on(last, "awk '/^MemAvailable/ {print $2}' /proc/meminfo")) * 1024
    lab.on(last, f"cp {SETTINGS} {SETTINGS}.before")
    reserve = available - 70 * 1024**2
    lab.on(last, f"sed -i 's/^memory_reserve = .*/memory_reserve = {reserve}/' {SETTINGS}")
    yield
    lab.on(last, f"mv {SETTINGS}.before {SETTINGS}")


def units(machine: lab.Machine) -> set[str]:
    """Return the releases whose service is active, activating or failed."""
    command = "systemctl list-units --plain --no-legend 'mms@*.service'"
    lines = lab.on(machine, command).splitlines()
    return {line.split()[0].removeprefix("mms@").removesuffix(".service") for line in lines}


def assert_all_right(load: Load) -> None:
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


@pytest.mark.timeout(600)
def test_a_rollback_to_a_warm_release_is_instant(
    last: lab.Machine, words: Path, plain: Path, either: Request, record_property: Record
) -> None:
    rest = f"\n[Model Settings]\ndigits.keep_warm_s={WARM_S}\n"
    confs = [
        changes.put(last, archive.stem, {"digits": archive}, rest) for archive in (plain, words)
    ]
    changes.applied(last, confs[0])
    old = changes.releases(last)["digits"]
    with Load([either], busy=4, idle=8) as load:
        load.wait_for_answers(10)
        changes.applied(last, confs[1])
        new = changes.releases(last)["digits"]
        (row,) = changes.status(last)["models"]
        assert old in row["warm"]
        began = time.monotonic()
        back = json.loads(lab.on(last, "mms rollback --json"))
        record_property("seconds of a rollback", round(time.monotonic() - began, 2))
        assert (back["seconds"], changes.releases(last)["digits"]) == (0, old)
        load.wait_for_answers(10)
        assert {old, new} <= units(last)
        timers = lab.on(last, "systemctl list-timers --no-legend 'mms-retire-*'")
        assert f"mms-retire-{new}" in timers
        changes.wait_until(lambda: units(last) == {old}, f"{new} ends", WARM_S + 30)
        load.wait_for_answers(10)
    record_property("load", str(load.report))
    assert_all_right(load)


@pytest.mark.timeout(300)
def test_an_archive_with_other_answers_than_its_samples_gets_no_request(
    last: lab.Machine, words: Path, plain: Path
) -> None:
    conf = changes.put(last, "plain", {"digits": plain})
    changes.applied(last, conf)
    before = changes.releases(last)
    request = Request.of_image(last.address, "digits", lab.SEVEN, "7")
    conf = changes.put(last, "words", {"digits": words})
    beside = Path(conf).with_name("words.model.golden")
    # The answer of the other version: this version answers in words.
    lab.on(last, f"install -d -o admin {beside}")
    expected = [[{"class": "7", "probability": 1.0}]]
    sample = golden_samples.Sample((lab.SEVEN.read_bytes(),), expected, Tolerance(1, 1), top1=True)
    for name, content in golden_samples.encode([sample]).items():
        (words.parent / name).write_bytes(content)
        lab.copy(last, words.parent / name, f"{beside}/{name}")
    with Load([request], busy=2, idle=2) as load:
        load.wait_for_answers(5)
        done = changes.apply(last, conf)
        load.wait_for_answers(5)
    assert done.returncode == 4, done.stderr
    assert "model digits, step golden check: golden sample 1: " in done.stderr
    assert changes.releases(last) == before
    assert units(last) == set(before.values())
    assert_all_right(load)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short_of_memory")
def test_a_change_with_a_gap_lets_requests_wait(
    last: lab.Machine, words: Path, either: Request, record_property: Record
) -> None:
    conf = changes.put(last, words.stem, {"digits": words})
    old = changes.releases(last)["digits"]
    with Load([either], busy=4, idle=8) as load:
        load.wait_for_answers(10)
        _with_gap(last, conf, old, record_property)
        load.wait_for_answers(10)
    record_property("load", str(load.report))
    assert_all_right(load)


def _with_gap(machine: lab.Machine, conf: str, old: str, record_property: Record) -> None:
    refused = changes.apply(machine, conf)
    assert refused.returncode == 3, refused.stderr
    assert "model digits: it does not fit beside what is loaded" in refused.stderr
    assert changes.releases(machine)["digits"] == old
    done = changes.apply(machine, conf, "--allow-gap", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["models"]
    record_property("seconds of the gap", round(row["gap_s"], 2))
    assert units(machine) == {row["release"]}


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("short_of_memory")
@pytest.mark.parametrize("step", ["switch the link", "stop release", "ask for a first answer"])
def test_a_change_that_is_killed_in_its_gap_is_done_by_the_next_one(
    last: lab.Machine, words: Path, either: Request, step: str, record_property: Record
) -> None:
    conf = changes.put(last, words.stem, {"digits": words})
    old = changes.releases(last)["digits"]
    with Load([either], busy=2, idle=2) as load:
        load.wait_for_answers(5)
        command = f"/opt/mms/current/bin/python - {conf} '{step}'"
        lab.on(last, command, stdin=KILLER, timeout_s=120)
        assert changes.releases(last)["digits"] == old, "a boot would serve the old one"
        done = changes.apply(last, conf, "--allow-gap")
        assert done.returncode == 0, done.stderr
        load.wait_for_answers(5)
    record_property("load", str(load.report))
    new = changes.releases(last)["digits"]
    assert new != old
    assert units(last) == {new}
    assert_all_right(load)
    again = changes.apply(last, conf)
    assert "Nothing to do" in again.stdout, again
