"""A flood of requests: the backlog's limit, immediate refusals beyond it, none during a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests import lab
from tests.integration import changes
from tests.integration.conftest import service_file

pytestmark = pytest.mark.fleet

MAY_WAIT = 8
FLOOD = 32
PACE_S = 0.5
SETTINGS = f"""
--workers
1

[Model Settings]
digits.max_queue={MAY_WAIT}
digits.max_batch_size=1
"""
SLOW = f"""
import time

from mms.model_service import mxnet_vision_service


class Slow(mxnet_vision_service.MXNetVisionService):
    def _inference(self, data):
        time.sleep({PACE_S})
        return super()._inference(data)
"""


@pytest.fixture
def slow(last: lab.Machine, tmp_path: Path) -> lab.Machine:
    """A host with one worker that answers two requests per second, and a queue of eight."""

    def change(members: changes.Members) -> None:
        members[service_file(members)] = SLOW.encode()

    archive = changes.variant(tmp_path / "slow.model", change)
    changes.applied(last, changes.put(last, "slow", {"digits": archive}, SETTINGS))
    return last


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(FLOOD) as pool:
        yield pool


def ask(machine: lab.Machine) -> tuple[requests.Response, float]:
    """Return the answer to a prediction on a new connection, and its duration in seconds."""
    began = time.monotonic()
    with lab.SEVEN.open("rb") as image:
        answer = requests.post(
            f"{machine.url}/digits/predict",
            files={"data": (lab.SEVEN.name, image, "image/jpeg")},
            timeout=90,
        )
    return answer, time.monotonic() - began


def many(
    clients: ThreadPoolExecutor, machine: lab.Machine, count: int
) -> list[Future[tuple[requests.Response, float]]]:
    return [clients.submit(ask, machine) for _ in range(count)]


@pytest.mark.timeout(300)
def test_a_full_queue_refuses_at_once_and_a_restart_does_not(
    slow: lab.Machine, clients: ThreadPoolExecutor
) -> None:
    flood = [each.result() for each in many(clients, slow, FLOOD)]
    served = [took_s for answer, took_s in flood if answer.status_code == 200]
    refused = [(answer, took_s) for answer, took_s in flood if answer.status_code == 503]
    assert len(served) + len(refused) == FLOOD, [answer.text for answer, _ in flood]
    # One is computed and eight wait. During the flood the worker completes some.
    assert MAY_WAIT + 1 <= len(served) <= MAY_WAIT + 4
    for answer, took_s in refused:
        assert took_s < min(max(served) / 2, 3 * PACE_S)
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["queue"]["depth"] == MAY_WAIT

    release = changes.releases(slow)["digits"]
    restart = clients.submit(lab.on, slow, f"systemctl restart mms@{release}", timeout_s=90)
    starting = f"systemctl show --property=ActiveState --value mms@{release}"
    changes.wait_until(lambda: lab.on(slow, starting).strip() == "activating", "it starts", 30)
    waiting = [each.result()[0] for each in many(clients, slow, 2 * MAY_WAIT)]
    assert [answer.status_code for answer in waiting] == [200] * len(waiting), waiting[-1].text
    restart.result()
