"""Reloads of nginx under clients with keep-alive connections: no request fails."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests import lab
from tests.integration.load import Load, Request

pytestmark = pytest.mark.fleet

FRAME = "/etc/mms/nginx.conf.frame"
CHANGE = "sed -i 's/^    client_body_buffer_size .*/    client_body_buffer_size {}k;/' " + FRAME
SIZES = (512, 768, 640)


@pytest.fixture
def reload(machines: list[lab.Machine]) -> Iterator[Callable[[int], str]]:
    """A function that changes the frame on the first host, applies it, and returns the output."""
    machine = machines[0]
    lab.on(machine, f"cp --preserve {FRAME} /root/frame")

    def change(turn: int) -> str:
        lab.on(machine, CHANGE.format(SIZES[turn % len(SIZES)]))
        return lab.on(machine, "mms edge", timeout_s=180)

    yield change
    lab.on(machine, f"mv /root/frame {FRAME}")
    lab.on(machine, "mms edge", timeout_s=180)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_reload_loses_no_request(
    machines: list[lab.Machine], reload: Callable[[int], str]
) -> None:
    machine = machines[0]
    pids = lab.on(machine, "pgrep --exact nginx")
    # A reload closes mostly idle connections.
    load = Load([Request.of_image(machine.address, "digits", lab.SEVEN, "7")])
    with load:
        load.wait_for_answers(40)
        for turn in range(3):
            assert "still open" not in reload(turn)
            load.wait_for_answers(60)
    assert lab.on(machine, "pgrep --exact nginx") != pids
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


@contextmanager
def asking(machine: lab.Machine, clients: int) -> Iterator[tuple[list[int], list[str]]]:
    """Send health requests without a pause; yield lists that get the statuses and the failures."""
    statuses: list[int] = []
    failures: list[str] = []
    stop = threading.Event()

    def client(number: int) -> None:
        rng = random.Random(number)  # noqa: S311 - pauses, not secrets
        connection = http.client.HTTPConnection(machine.address, timeout=30)
        while not stop.is_set():
            try:
                connection.request("GET", "/ping")
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{type(error).__name__}: {error}")
                connection.close()
            stop.wait(rng.uniform(0, 0.06))
        connection.close()

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses, failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(40)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_reload_loses_no_request_in_flight(
    machines: list[lab.Machine],
    reload: Callable[[int], str],
    record_property: Callable[[str, object], None],
) -> None:
    """Answers are fast here: many are sent between the start of new and the end of old workers."""
    with asking(machines[0], 12) as (statuses, failures):
        for turn in range(20):
            reload(turn)
            # A connection that an old worker has closed shows at the next request.
            time.sleep(1.0)
    record_property("load", f"sent {len(statuses) + len(failures)}, failed {len(failures)}")
    assert set(statuses) == {200}
    assert not failures, failures
