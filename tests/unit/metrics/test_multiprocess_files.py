"""The sum of the counters over all releases never decreases, whichever process is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.metrics import multiprocess
from mms_server.metrics.multiprocess_files import HOST, MetricsFiles


@pytest.fixture(autouse=True)
def _prometheus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    yield
    multiprocess.set_process_name(multiprocess.MASTER)


class Process:
    """A process of a release, with a counter, a gauge and a histogram."""

    def __init__(self, directory: Path, name: str) -> None:
        multiprocess.configure(directory, name)
        registry = CollectorRegistry()
        self.count = Counter("c", "Help.", ["model"], registry=registry).labels("a")
        self.gauge = Gauge(
            "g", "Help.", ["model"], registry=registry, multiprocess_mode="livesum"
        ).labels("a")
        self.times = Histogram("h", "Help.", ["model"], registry=registry, buckets=(1, 5)).labels(
            "a"
        )


def total(files: MetricsFiles) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in files.collect():
        for sample in metric.samples:
            key = sample.name + sample.labels.get("le", "")
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def files_of(root: Path, *alive: str) -> MetricsFiles:
    return MetricsFiles(Layout.under(root), lambda name: name in alive)


def counts(root: Path, release: str) -> Path:
    return Layout.under(root).release_metrics(release)


def names(root: Path) -> list[str]:
    """Return the names in the directory of the past and in the releases' instance directories."""
    layout = Layout.under(root)
    return sorted(path.name for path in (*layout.metrics.iterdir(), *layout.instances.glob("*/*")))


def count(root: Path, release: str, process: str, number: int) -> None:
    one = Process(counts(root, release), process)
    one.count.inc(number)
    one.gauge.set(number)
    one.times.observe(number)


ALL = {"c_total": 3, "h_bucket1.0": 1, "h_bucket5.0": 2, "h_bucket+Inf": 2, "h_count": 2}


def test_processes_and_releases_are_summed(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    count(tmp_path, "a.2", "1", 2)
    assert total(files_of(tmp_path, "a.1", "a.2")) == {**ALL, "h_sum": 3, "g": 3}


def test_gauges_of_a_dead_process_do_not_count(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    count(tmp_path, "a.2", "1", 2)
    assert total(files_of(tmp_path, "a.2"))["g"] == 2
    multiprocess.remove_gauges(counts(tmp_path, "a.2"), "0")
    assert total(files_of(tmp_path, "a.2"))["g"] == 2
    multiprocess.remove_gauges(counts(tmp_path, "a.2"), "1")
    assert "g" not in total(files_of(tmp_path, "a.2"))


def test_a_new_worker_continues_counters_and_a_new_master_removes_gauges(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    count(tmp_path, "a.1", "0", 2)
    found = total(files_of(tmp_path, "a.1"))
    assert found == {**ALL, "h_sum": 3, "g": 2}
    multiprocess.configure(counts(tmp_path, "a.1"))
    assert "g" not in total(files_of(tmp_path, "a.1"))


def test_removed_releases_stay_in_the_sum(tmp_path: Path) -> None:
    for number in range(1, 6):
        count(tmp_path, f"a.{number}", "0", 1)
    files = files_of(tmp_path)
    before = total(files)
    assert before["c_total"] == before["h_count"] == 5
    assert files.releases() == {f"a.{number}" for number in range(1, 6)}
    files.add_to_past(["a.1", "a.2"])
    assert total(files) == before
    files.add_to_past(["a.3", "none.1"])
    assert total(files) == before
    assert files.releases() == {"a.4", "a.5"}
    count(tmp_path, "a.1", "0", 10)
    assert total(files)["c_total"] == 15
    files.add_to_past(["a.1", "a.4", "a.5"])
    assert total(files)["c_total"] == 15
    assert len(names(tmp_path)) == 2


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("step", range(12))
def test_being_killed_at_any_step_changes_no_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    for number in range(3):
        count(tmp_path, f"a.{number}", "0", 1)
    files = files_of(tmp_path)
    files.add_to_past(["a.0"])
    remaining = [step]

    def fail_at_step(function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if remaining[0] == 0:
                raise Killed
            remaining[0] -= 1
            return function(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        for name in ("rename", "symlink_to", "replace", "write_text", "chmod"):
            patch.setattr(Path, name, fail_at_step(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", fail_at_step(shutil.rmtree))
        try:
            files.add_to_past(["a.1", "a.2"])
        except Killed:
            assert total(files)["c_total"] == 3
        else:
            assert step > 8
    files.add_to_past(["a.1", "a.2"])
    assert total(files)["c_total"] == 3
    assert len(names(tmp_path)) == 2


def test_an_invalid_file_does_not_affect_the_others(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    for number, data in enumerate((b"", b"\0" * 10, b"\xff" * 100, b"\x40\0\0\0" + b"x" * 100)):
        (counts(tmp_path, "a.1") / f"counter_{number + 5}.db").write_bytes(data)
    os.mkfifo(counts(tmp_path, "a.1") / "counter_pipe.db")
    (counts(tmp_path, "a.1") / "histogram_link.db").symlink_to("/etc/passwd")
    with (counts(tmp_path, "a.1") / "counter_huge.db").open("wb") as stream:
        stream.truncate(17 * 1024 * 1024)
    assert total(files_of(tmp_path, "a.1"))["c_total"] == 1


def test_a_release_that_is_removed_while_it_is_read_counts_once(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    count(tmp_path, "b.1", "0", 2)
    remover = files_of(tmp_path)

    def remove_while_asked(name: str) -> bool:
        remover.add_to_past([name])
        return True

    reader = MetricsFiles(Layout.under(tmp_path), remove_while_asked)
    assert total(reader)["c_total"] == 3
    assert total(files_of(tmp_path))["c_total"] == 3


def test_without_files_there_are_no_metrics(tmp_path: Path) -> None:
    files = files_of(tmp_path / "none")
    assert files.collect() == []
    assert files.releases() == set()
    assert files.read_minute(1) == {}
    files.add_to_past([])


def test_the_host_s_own_counters_are_no_release(tmp_path: Path) -> None:
    Process(Layout.under(tmp_path).metrics / HOST, HOST).count.inc()
    files = files_of(tmp_path)
    assert files.releases() == set()
    assert total(files)["c_total"] == 1


def test_the_past_lists_the_directories_that_it_includes(tmp_path: Path) -> None:
    count(tmp_path, "a.1", "0", 1)
    files_of(tmp_path).add_to_past(["a.1"])
    (name,) = json.loads((Layout.under(tmp_path).metrics / "@past" / "held.json").read_text())
    assert name.startswith("@removed.")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MMSError, match="cannot be written: Not a directory"):
        multiprocess.configure(tmp_path / "file" / "x")
