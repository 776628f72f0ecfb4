"""Admission control by the queue delay that the workers recorded."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import pytest

from mms_server.host.instance_files import InstanceFiles
from mms_server.overload.admission import rejection
from mms_server.overload.deadline import QUEUED_S
from mms_server.overload.queue_delay import (
    RECENT_S,
    QueueDelay,
    QueueDelayRecorder,
    expected_wait,
    last_queue_delay,
)
from mms_server.overload.worker_load import WorkerLoad

NOW = 1_700_000_000.0


@pytest.fixture
def instance_files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path)


def note(instance_files: InstanceFiles, queue_s: float = 2.0, request_s: float = 0.1) -> None:
    QueueDelayRecorder(instance_files.queue, lambda: NOW).record(queue_s, request_s)


def busy(instance_files: InstanceFiles, *counts: int) -> None:
    """Write how many requests each worker has in hand."""
    for slot, count in enumerate(counts):
        worker_load = WorkerLoad(instance_files.worker_load, len(counts))
        worker_load.begin(slot)
        worker_load.hold(count)


@pytest.mark.parametrize(
    ("queue_s", "limit_s", "refused"),
    [
        (2.0, 2.0, True),
        (2.0, 2.099, True),
        (2.0, 2.11, False),
        (QUEUED_S, 0.05, True),
        (QUEUED_S * 0.99, 0.001, False),
        (2.0, 0.0, False),
    ],
)
def test_a_request_that_is_answered_within_its_limit_is_admitted(
    queue_s: float, limit_s: float, refused: bool
) -> None:
    error = rejection((QueueDelay(NOW, queue_s, 0.1), 2), limit_s)
    assert (error is not None) == refused
    if error:
        assert (error.depth, error.rate) == (round(queue_s * 20), 20)
        assert error.retry_after_s == max(1, math.ceil(queue_s))


def test_without_a_known_delay_all_requests_are_admitted() -> None:
    assert rejection(None, 0.001) is None


def test_the_recorded_delay_counts_while_all_workers_are_busy(
    instance_files: InstanceFiles,
) -> None:
    assert expected_wait(instance_files, NOW) is None
    note(instance_files)
    busy(instance_files, 1, 3)
    assert expected_wait(instance_files, NOW + 1) == QueueDelay(NOW, 2.0, 0.1)
    busy(instance_files, 1, 0)
    assert expected_wait(instance_files, NOW + 1) is None, "one of them would take it at once"
    busy(instance_files, *[1] * 40, 0)
    assert expected_wait(instance_files, NOW + 1) is None, "however many they are"


def test_an_old_record_does_not_count(instance_files: InstanceFiles) -> None:
    note(instance_files)
    busy(instance_files, 1)
    assert expected_wait(instance_files, NOW + RECENT_S)
    assert not expected_wait(instance_files, NOW + RECENT_S + 0.01)
    assert not expected_wait(instance_files, NOW - 0.01), "a clock that was set says nothing"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 23,
        struct.pack("<ddd", NOW, math.nan, 0.1),
        struct.pack("<ddd", NOW, math.inf, 0.1),
        struct.pack("<ddd", NOW, -1.0, 0.1),
        struct.pack("<ddd", NOW, 1.0, -0.1),
        struct.pack("<ddd", NOW, 1e9, 0.1),
        struct.pack("<ddd", 0.0, 1.0, 0.1),
    ],
)
def test_impossible_numbers_are_ignored(instance_files: InstanceFiles, content: bytes) -> None:
    instance_files.queue.write_bytes(content)
    assert last_queue_delay(instance_files.queue) is None


def test_a_link_or_a_pipe_is_not_read(instance_files: InstanceFiles, tmp_path: Path) -> None:
    note(InstanceFiles(tmp_path))
    instance_files.queue.rename(tmp_path / "other")
    instance_files.queue.symlink_to(tmp_path / "other")
    assert last_queue_delay(instance_files.queue) is None
    instance_files.queue.unlink()
    os.mkfifo(instance_files.queue)
    assert last_queue_delay(instance_files.queue) is None
