"""Root takes sound records, removes all else, follows no link, and keeps a bounded number."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mms_server.core.paths import Layout
from mms_server.crashes import collector as collectors
from mms_server.crashes import explain, start_history
from mms_server.crashes.collector import CrashCollector
from mms_server.crashes.in_flight_log import InFlightLog, InFlightRequest
from mms_server.crashes.start_history import StartHistory
from mms_server.host.cgroup import Cgroup
from tests.fixtures.crash_reports import DIGEST, RELEASE, certificate, instance_files


def make(root: Path, told: list[str] | None = None) -> CrashCollector:
    report = told.append if told is not None else print
    return CrashCollector(Layout.under(root), lambda _name: ("last line",), report, lambda: 1.8e9)


def leave(root: Path, name: str = "", **changes: object) -> str:
    made = certificate(**changes)
    (instance_files(root).deaths / (name or f"{made.id}.json")).write_text(made.to_json())
    return made.id


def test_a_sound_record_is_kept_with_the_last_lines(tmp_path: Path) -> None:
    left = leave(tmp_path)
    (found,) = make(tmp_path).collect(RELEASE)
    assert (found.id, found.log) == (left, ("last line",))
    kept = tmp_path / "var/lib/mms/deaths" / f"{left}.json"
    assert kept.stat().st_mode & 0o777 == 0o640
    assert explain.find(Layout.under(tmp_path), "id-1") == [found]
    assert list(instance_files(tmp_path).deaths.iterdir()) == []
    assert make(tmp_path).collect(RELEASE) == []


def test_all_else_is_removed_and_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(certificate().to_json())
    deaths = instance_files(tmp_path).deaths
    leave(tmp_path, release="other.0123abcd", model="other")
    leave(tmp_path, role="master")
    leave(tmp_path, name="another-name.json")
    (deaths / f"{certificate().id}.json").symlink_to(secret)
    (deaths / "large").write_bytes(b"x" * 1_000_000)
    (deaths / "tree/below").mkdir(parents=True)
    (deaths / "tree/below/file").touch()
    (deaths / "outside").symlink_to(tmp_path)
    os.mkfifo(deaths / "pipe")
    told: list[str] = []
    assert make(tmp_path, told).collect(RELEASE) == []
    assert list(deaths.iterdir()) == []
    assert len(told) == 8
    assert secret.exists()
    assert not (tmp_path / "var/lib/mms/deaths").exists()


def test_a_directory_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    deaths = instance_files(tmp_path).deaths
    leave(tmp_path)
    deaths.rename(tmp_path / "elsewhere")
    deaths.symlink_to(tmp_path / "elsewhere")
    assert make(tmp_path).collect(RELEASE) == []
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_a_certificate_is_not_written_twice(tmp_path: Path) -> None:
    first = certificate()
    for stack in ("true", "forged"):
        leave(tmp_path, id=first.id, stack=stack)
        make(tmp_path).collect(RELEASE)
    (found,) = explain.find(Layout.under(tmp_path), first.id)
    assert found.stack == "true"


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectors, "MAX_OF_RELEASE", 3)
    monkeypatch.setattr(collectors, "MAX_FILES", 4)
    ids = []
    for number in range(5):
        ids.append(leave(tmp_path, now=1.8e9 + number))
        make(tmp_path).collect(RELEASE)
    layout = Layout.under(tmp_path)
    assert [row.id for row in explain.find(layout, "digits")] == ids[:1:-1]
    other = certificate(release="other.0123abcd", model="other")
    theirs = tmp_path / "run/mms/instances/other.0123abcd/deaths"
    theirs.mkdir(parents=True)
    (theirs / f"{other.id}.json").write_text(other.to_json())
    make(tmp_path).collect("other.0123abcd")
    assert len(explain.find(layout, "digits")) == 3
    assert len(explain.find(layout, "other")) == 1


def test_the_body_of_a_refused_request_is_moved_to_root(tmp_path: Path) -> None:
    body = instance_files(tmp_path).suspects / DIGEST
    body.write_bytes(b"{}\nbody")
    leave(tmp_path, refused=DIGEST)
    (found,) = make(tmp_path).collect(RELEASE)
    kept = tmp_path / "var/lib/mms/quarantine" / DIGEST
    assert found.replay == str(kept)
    assert kept.read_bytes() == b"{}\nbody"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert not body.exists()


def test_a_body_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (instance_files(tmp_path).suspects / DIGEST).symlink_to("/etc/passwd")
    leave(tmp_path, refused=DIGEST)
    (found,) = make(tmp_path).collect(RELEASE)
    assert found.replay == ""


@pytest.mark.parametrize(
    ("environ", "cause", "name", "code"),
    [
        ({"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"},
         "signal", "SIGKILL", None),
        ({"SERVICE_RESULT": "core-dump", "EXIT_CODE": "dumped", "EXIT_STATUS": "SEGV"},
         "signal", "SIGSEGV", None),
        ({"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "2"},
         "exit", "", 2),
        ({"SERVICE_RESULT": "watchdog", "EXIT_CODE": "killed", "EXIT_STATUS": "ABRT"},
         "hang", "SIGABRT", None),
        ({"SERVICE_RESULT": "timeout", "EXIT_CODE": "killed", "EXIT_STATUS": "TERM"},
         "timeout", "SIGTERM", None),
    ],
    ids=lambda row: row["SERVICE_RESULT"] if isinstance(row, dict) else "",
)  # fmt: skip
def test_the_end_of_a_master(
    tmp_path: Path, environ: dict[str, str], cause: str, name: str, code: int | None
) -> None:
    in_flight = InFlightLog(instance_files(tmp_path).in_flight)
    in_flight.begin(0, (InFlightRequest("in-flight", DIGEST, 1.8e9 - 2, 1), None))
    start_history.write(instance_files(tmp_path).starts, StartHistory(1, 1.8e9 - 10))
    instance_files(tmp_path).stack("master").write_text("File arbiter.py")
    make(tmp_path).ended(RELEASE, environ, Cgroup(tmp_path))
    (found,) = explain.find(Layout.under(tmp_path), "in-flight")
    assert (found.role, found.cause, found.signal, found.exit_code) == ("master", cause, name, code)
    assert (found.lived_s, found.requests[0].seconds) == (10.0, 2.0)
    assert found.stack == "File arbiter.py"


def test_a_master_without_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    instance_files(tmp_path)
    environ = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}
    make(tmp_path).ended(RELEASE, environ, Cgroup(tmp_path))
    (found,) = explain.find(Layout.under(tmp_path), RELEASE)
    assert (found.cause, found.peak_bytes) == ("out-of-memory", 4096)


def test_an_end_that_was_asked_for_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    start_history.write(instance_files(tmp_path).starts, StartHistory(3, 1.8e9 - 10))
    leave(tmp_path)
    make(tmp_path).ended(RELEASE, {"SERVICE_RESULT": "success"}, Cgroup(tmp_path))
    assert start_history.read(instance_files(tmp_path).starts) == StartHistory()
    assert len(explain.find(Layout.under(tmp_path), RELEASE)) == 1
    assert signal.SIGTERM.name not in explain.text("x", [])
