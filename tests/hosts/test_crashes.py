"""Crashes of workers and masters on a host: collected by root, shown by `mms why`, counted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

WAIT_S = 60.0


def until(found: Callable[[], Any]) -> Any:
    """Return the value of ``found()`` when it is true."""
    deadline = time.monotonic() + WAIT_S
    while not (value := found()):
        assert time.monotonic() < deadline, f"not so within {WAIT_S} s"
        time.sleep(0.5)
    return value


def deaths(host: Any, release: str) -> list[dict[str, Any]]:
    with host.sudo():
        found: list[dict[str, Any]] = json.loads(host.check_output(f"mms why {release} --json"))[
            "deaths"
        ]
    return found


def main_pid(host: Any, release: str) -> str:
    return str(host.check_output(f"systemctl show -p MainPID --value mms@{release}.service"))


def is_ready(host: Any) -> bool:
    return bool(host.run("curl -sf http://127.0.0.1/ping").rc == 0)


def test_the_collector_is_watching(host: Any, release: str) -> None:
    assert host.check_output(f"systemctl is-active mms-deaths@{release}.path") == "active"


@pytest.mark.parametrize("signal", ["SEGV", "KILL"])
def test_a_worker_that_dies_is_certified_once(host: Any, release: str, signal: str) -> None:
    before = len(deaths(host, release))
    with host.sudo():
        host.check_output(f"pkill -{signal} --oldest -P {main_pid(host, release)}")
    until(lambda: len(deaths(host, release)) > before)
    time.sleep(2)
    found = deaths(host, release)
    assert len(found) == before + 1
    assert (found[0]["role"], found[0]["signal"]) == ("worker", f"SIG{signal}")
    assert found[0]["log"]
    with host.sudo():
        assert host.check_output(f"ls /run/mms/instances/{release}/deaths") == ""
        kept = host.file(f"/var/lib/mms/deaths/{found[0]['id']}.json")
        assert (kept.user, kept.group, kept.mode) == ("root", "mms", 0o640)
    until(lambda: is_ready(host))


@pytest.mark.one_host
def test_a_master_that_dies_is_certified_once(host: Any, release: str) -> None:
    before = len(deaths(host, release))
    with host.sudo():
        host.check_output(f"kill -KILL {main_pid(host, release)}")
    until(lambda: len(deaths(host, release)) > before)
    until(lambda: is_ready(host))
    found = deaths(host, release)
    assert len(found) == before + 1
    assert (found[0]["role"], found[0]["signal"]) == ("master", "SIGKILL")


@pytest.mark.one_host
def test_a_master_that_hangs_is_ended_by_the_watchdog(host: Any, release: str) -> None:
    before = len(deaths(host, release))
    limit_s = int(host.check_output("mms settings --json | jq .watchdog_s || echo 30") or 30)
    with host.sudo():
        host.check_output(f"kill -STOP {main_pid(host, release)}")
    began = time.monotonic()
    until(lambda: len(deaths(host, release)) > before)
    assert time.monotonic() - began < limit_s + 15
    assert deaths(host, release)[0]["cause"] == "hang"
    until(lambda: is_ready(host))


@pytest.mark.parametrize("given", ["", "my-id.1", "not good", "x" * 129])
def test_every_answer_has_the_request_s_id(host: Any, given: str) -> None:
    for path in ("/ping", "/none/predict", "/metrics"):
        header = f"-H 'X-Request-Id: {given}'" if given else ""
        text = host.check_output(f"curl -sD - -o /dev/null {header} http://127.0.0.1{path}")
        ids = [line for line in text.splitlines() if line.lower().startswith("x-request-id:")]
        (answered,) = (line.partition(":")[2].strip() for line in ids)
        assert answered == given or given != "my-id.1"
        assert answered
    with host.sudo():
        last = host.check_output("tail -n 1 /var/log/nginx/access.log")
    assert json.loads(last)["request_id"] == answered
