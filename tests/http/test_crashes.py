"""Tests of crashes of a release server: certificates, quarantine, watchdog and backoff."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from mms_server.core.paths import Layout
from mms_server.crashes import explain
from mms_server.crashes.collector import CrashCollector
from mms_server.crashes.lookup import Lookup
from mms_server.host.cgroup import Cgroup
from tests.fixtures.servers import Server, multipart, until
from tests.http.test_bad_models import (
    BAD,
    GOOD,
    WATCHDOG_S,
    ask,
    ask_without_answer,
    certificates,
    serve,
)


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


def collect(root: Path, release: str) -> Layout:
    layout = Layout.under(root)
    CrashCollector(layout, lambda _release: ("a line",), print, time.time).collect(release)
    return layout


def test_an_input_that_killed_twice_is_refused_and_kept(root: Path) -> None:
    with serve("segv", root) as (server, instance_files):
        ask_without_answer(server, BAD, "first")
        until(lambda: len(certificates(instance_files)) == 1)
        ask_without_answer(server, BAD, "second")
        until(lambda: len(certificates(instance_files)) == 2)
        assert [ask(server, GOOD).status for _ in range(4)] == [200] * 4
        last = certificates(instance_files)[-1]
        form = {"order": b"[[1]]"}
        for path, word in {"/segv/predict": "<p>", "/predictions/segv": '"message"'}.items():
            refused = server.post_form(path, form)
            assert refused.status == 422
            assert last.id in refused.body.decode()
            assert word in refused.body.decode()
        assert last.refused == last.requests[0].digest
        assert len(certificates(instance_files)) == 2
        layout = collect(root, last.release)
        assert certificates(instance_files) == []
        body = layout.quarantine / last.refused
        assert body.stat().st_mode & 0o777 == 0o600
        head, _, data = body.read_bytes().partition(b"\n")
        assert b'"content_type": "multipart/form-data' in head
        assert b"[[1]]" in data
        found = explain.find(layout, "second")
        assert [row.id for row in found] == [last.id]
        text = explain.text("second", found)
        assert f"this input gets 422 from now on; its body is {body}" in text
        assert "SIGSEGV" in text
    # The quarantine survives a restart of the release.
    with serve("segv", root) as (server, instance_files):
        assert ask(server, BAD).status == 422
        assert ask(server, GOOD).status == 200


def test_a_request_that_nginx_sends_again_is_a_suspect(root: Path) -> None:
    with serve("segv", root) as (server, instance_files):
        data, kind = multipart({"order": b"[[1]]"})
        headers = {"Content-Type": kind, "X-Mms-Again": "1"}
        with pytest.raises(OSError, match=r".*"):
            server.request("POST", "/segv/predict", data, headers)
        until(lambda: len(certificates(instance_files)) == 1)
        (suspect,) = instance_files.suspects.iterdir()
        assert suspect.read_bytes().endswith(data)


def test_the_certificate_of_a_request_is_found_by_its_id(root: Path) -> None:
    with serve("quiet-exit", root) as (server, instance_files):
        ask_without_answer(server, BAD, "mine")
        until(lambda: len(certificates(instance_files)) == 1)
        began = time.monotonic()
        certificate = Lookup(Layout.under(root)).certificate("mine")
        assert time.monotonic() - began < 1
        assert certificates(instance_files)[0].id == certificate
        assert Lookup(Layout.under(root)).certificate("of-nobody") == ""


def test_an_engine_that_hangs_while_idle_is_replaced(root: Path) -> None:
    with serve("hangs-idle", root, workers=1, predict_timeout_s=60.0) as (server, instance_files):
        before = server.workers()
        assert ask(server, BAD).status == 200
        began = time.monotonic()
        until(lambda: certificates(instance_files), WATCHDOG_S + 3)
        assert time.monotonic() - began < WATCHDOG_S + 2.5
        (found,) = certificates(instance_files)
        assert (found.cause, found.requests) == ("hang", ())
        assert "bad_service.py" in found.stack
        assert ask(server, GOOD).status == 200
        assert server.workers() != before


def test_a_long_prediction_is_not_a_hang(root: Path) -> None:
    """While the interpreter runs, the time limit of predictions counts; --timeout is shorter."""
    with serve("hang", root, workers=1, predict_timeout_s=WATCHDOG_S + 3.0) as (
        server,
        instance_files,
    ):
        began = time.monotonic()
        assert ask(server, BAD).status == 504
        assert time.monotonic() - began > WATCHDOG_S + 2.5
        until(lambda: certificates(instance_files))
        assert [row.cause for row in certificates(instance_files)] == ["timeout"]


def test_workers_of_an_idle_release_are_not_replaced(root: Path) -> None:
    """Probes run without requests, and are not counted as predictions."""
    with serve("segv", root) as (server, instance_files):
        before = server.workers()
        time.sleep(WATCHDOG_S * 2)
        assert server.workers() == before
        assert certificates(instance_files) == []


def test_a_worker_that_grows_is_replaced_without_losing_a_request(root: Path) -> None:
    limit = 100 * 1024 * 1024
    with serve("leak", root, worker_memory_max_bytes=limit) as (server, instance_files):
        before = set(server.workers())
        assert [ask(server, BAD).status for _ in range(30)] == [200] * 30
        until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
        assert certificates(instance_files) == []
        for pid in server.workers():
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            assert int(fields[1]) * 4096 < limit + 300 * 1024 * 1024


def test_the_end_of_a_master_leaves_one_certificate_and_backoff_starts(root: Path) -> None:
    with serve("kills-master", root, workers=1) as (server, instance_files):
        # The worker survives its master by up to a second, and may answer.
        ask(server, BAD)
        assert server.process.wait(10) == -signal.SIGKILL
        release = instance_files.directory.name
        layout = Layout.under(root)
        collector = CrashCollector(layout, lambda _release: (), print, time.time)
        environ = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}
        collector.ended(release, environ, Cgroup(root))
        (found,) = explain.find(layout, release)
        assert (found.role, found.cause, found.signal) == ("master", "signal", "SIGKILL")
    with serve("kills-master", root, workers=1) as (server, instance_files):
        assert "1 starts in a row failed: trying again in 1 s" in server.log.read_text()
        assert ask(server, GOOD).status == 200


def test_backoff_grows_when_workers_die_early(root: Path) -> None:
    with serve("loud-exit", root, workers=1) as (server, instance_files):
        times = []
        for number in range(6):
            _kill(server)
            times.append(time.monotonic())
            until(lambda number=number: len(certificates(instance_files)) == number + 1)
            until(lambda: bool(server.workers()), 10)
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert max(gaps[:2]) < 1
        assert gaps[-2] > 0.4
        assert gaps[-1] > 0.9
        assert ask(server, GOOD).status == 200


def _kill(server: Server) -> None:
    (victim,) = server.workers()
    os.kill(victim, signal.SIGKILL)


def test_a_stop_ends_workers_that_were_just_forked(root: Path) -> None:
    """A worker that was just forked ignores the first SIGTERM: it has no handler yet."""
    with serve("loud-exit", root, workers=2) as (server, _instance_files):
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert time.monotonic() - began < 2.9
