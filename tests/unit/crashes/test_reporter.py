"""The master's judgement of an end, by its status and by what the worker has left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mms_server.crashes import crash_history
from mms_server.crashes.in_flight_log import InFlightLog, InFlightRequest
from mms_server.crashes.report import Certificate
from mms_server.crashes.reporter import CrashReporter, ProcessEnd
from mms_server.host.cgroup import Cgroup
from tests.fixtures.crash_reports import DIGEST, RELEASE, instance_files

FLIGHT = InFlightRequest("id-1", DIGEST, 1.8e9 - 1, 1000)
KILLED = int(signal.SIGKILL)


def exited(code: int) -> int:
    return code << 8


class Master:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.ooms(0)
        self.in_flight = InFlightLog(instance_files(root).in_flight)
        self.crash_reporter = CrashReporter(
            instance_files(root), RELEASE, self.in_flight, Cgroup(root), lambda: 1.8e9
        )

    def ooms(self, number: int) -> None:
        (self.root / "memory.events").write_text(f"oom_kill {number}\n")

    def died(
        self, status: int, *, aborted: bool = False, stopping: bool = False, lived_s: float = 60.0
    ) -> Certificate | None:
        return self.crash_reporter.died(ProcessEnd(7, 0, status, 4096, lived_s, aborted, stopping))

    def records(self) -> list[Certificate]:
        files = sorted(instance_files(self.root).deaths.iterdir())
        return [Certificate.from_json(file.read_bytes()) for file in files]


@pytest.fixture
def master(tmp_path: Path) -> Master:
    return Master(tmp_path)


def test_an_end_that_was_announced_is_no_death(master: Master) -> None:
    master.in_flight.mark_ended(0)
    assert master.died(exited(0)) is None
    master.in_flight.mark_ended(0)
    assert master.died(int(signal.SIGTERM)) is None
    assert master.records() == []


@pytest.mark.parametrize(
    ("status", "facts", "expected"),
    [
        (int(signal.SIGSEGV), {}, ("signal", "SIGSEGV", None)),
        (exited(0), {}, ("exit", "", 0)),
        (exited(7), {}, ("exit", "", 7)),
        (exited(1), {"aborted": True}, ("hang", "", 1)),
        (KILLED, {"aborted": True}, ("hang", "SIGKILL", None)),
        (KILLED, {}, ("signal", "SIGKILL", None)),
        (KILLED, {"stopping": True}, ("stop", "SIGKILL", None)),
        (int(signal.SIGTERM), {}, ("signal", "SIGTERM", None)),
        (40, {}, ("signal", "signal 40", None)),
    ],
)  # fmt: skip
def test_causes(
    master: Master, status: int, facts: dict[str, bool], expected: tuple[str, str, int | None]
) -> None:
    master.in_flight.begin(0, (FLIGHT, None))
    found = master.died(status, **facts)
    assert found is not None
    assert (found.cause, found.signal, found.exit_code) == expected
    assert (found.requests[0].id, found.requests[0].seconds) == ("id-1", 1.0)
    assert (found.peak_bytes, found.resident_bytes) == (4096, 1000)
    assert [row.id for row in master.records()] == [found.id]


def test_a_stuck_engine_is_a_timeout_though_the_worker_ends_well(master: Master) -> None:
    master.in_flight.begin(0, (FLIGHT, None))
    master.in_flight.mark_stuck(0)
    master.in_flight.mark_ended(0)
    found = master.died(exited(0))
    assert found is not None
    assert found.cause == "timeout"


def test_the_death_of_a_batch_names_all_of_it(master: Master) -> None:
    mates = [
        InFlightRequest(f"id-{number}", f"{number:064x}", 1.8e9 - 1, number) for number in range(3)
    ]
    master.in_flight.reserve(0)
    master.in_flight.begin(0, *((flight, None) for flight in mates))
    found = master.died(KILLED)
    assert found is not None
    assert [row.id for row in found.requests] == ["id-0", "id-1", "id-2"]
    assert found.resident_bytes == 2
    assert found.refused == ""
    # Computed by itself, and the one that kills.
    master.in_flight.begin(0, (mates[1], None))
    again = master.died(KILLED)
    assert again is not None
    assert again.refused == mates[1].digest


def test_each_kill_for_memory_is_told_once(master: Master) -> None:
    master.ooms(1)
    causes = [found.cause for _ in range(2) if (found := master.died(KILLED))]
    assert causes == ["out-of-memory", "signal"]
    assert crash_history.read(instance_files(master.root).recent).ooms == 1


def test_a_worker_that_never_could_answer_the_signal(master: Master) -> None:
    assert master.died(int(signal.SIGTERM), lived_s=0.1) is None


def test_the_second_death_of_an_input_refuses_it(master: Master, tmp_path: Path) -> None:
    refused = []
    for _ in range(2):
        master.in_flight.begin(0, (FLIGHT, None))
        found = master.died(int(signal.SIGSEGV))
        assert found is not None
        refused.append(found.refused)
    assert refused == ["", DIGEST]
    # The next master knows it too.
    CrashReporter(
        instance_files(tmp_path), RELEASE, master.in_flight, Cgroup(tmp_path), lambda: 1.8e9
    )
    assert crash_history.read(instance_files(tmp_path).recent).refuses(DIGEST)


def test_an_input_that_was_answered_between_two_deaths_is_not_refused(
    master: Master, tmp_path: Path
) -> None:
    for _ in range(3):
        master.in_flight.begin(0, (FLIGHT, None))
        found = master.died(int(signal.SIGKILL))
        assert found is not None
        assert found.refused == ""
        (instance_files(tmp_path).answered / DIGEST).touch()
    master.in_flight.begin(0, (FLIGHT, None))
    master.died(int(signal.SIGKILL))
    assert list(instance_files(tmp_path).answered.iterdir()) == []
    master.in_flight.begin(0, (FLIGHT, None))
    found = master.died(int(signal.SIGKILL))
    assert found is not None
    assert found.refused == DIGEST, "two deaths in a row"


def test_records_do_not_pile_up_where_nobody_collects(master: Master) -> None:
    for _ in range(70):
        master.died(exited(1))
    assert len(master.records()) == 64


def test_a_pause_is_published(master: Master) -> None:
    epoch = master.in_flight.epoch
    master.crash_reporter.pause_until(1.8e9 + 5)
    assert crash_history.read(instance_files(master.root).recent).paused_until == 1.8e9 + 5
    assert master.in_flight.epoch != epoch
    assert master.records() == []
