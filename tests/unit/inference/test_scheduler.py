"""A refused request gets the status of its error, alone and in a batch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
import pytest

from mms_server.core import refusals
from mms_server.core.errors import RefusedError
from mms_server.crashes.input_digest import Input
from mms_server.crashes.quarantine import NoQuarantine
from mms_server.inference.batching.batcher import Batcher
from mms_server.inference.executor import Engine
from mms_server.inference.scheduler import InferenceRequest, QueuedRequest, Scheduler
from mms_server.metrics.stage_timing import Stages
from mms_server.overload.deadline import ServiceRate, WaitTimes
from mms_server.rest.responses import bottle_app

TEXT = "The quota of this client is used up."


class QuotaError(RefusedError):
    """A reason for refusing a request that neither scheduler nor batcher has ever heard of."""

    retry_after_s = 9


ROW = refusals.Refusal(
    QuotaError, 402, "the quota is used up", mms1_type="QuotaException", retry_after=True
)


def refuse() -> Any:
    raise QuotaError(TEXT)


class Refused(QueuedRequest):
    """A request that is refused when its turn comes."""

    def check(self) -> None:
        refuse()


class Doubles:
    """Computes requests together, or refuses one of them in one of its steps."""

    max_batch = 4
    arrays = None

    def prepare(self, inputs: Any) -> Any:
        return refuse() if inputs == "no preparation" else inputs

    def fits(self, prepared: Any) -> bool:
        return prepared != "no fit"

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        return refuse() if "no batch" in prepared else [2 * one for one in prepared]

    def compute_one(self, _prepared: Any) -> Any:
        return refuse()

    def answer(self, own: Any) -> Any:
        return own


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "REFUSALS", (*refusals.REFUSALS, ROW))


@pytest.fixture
def scheduler() -> Scheduler:
    def record_forward(_rows: int) -> None:
        """Record nothing."""

    return Scheduler(Engine(5.0, list), NoQuarantine(), ServiceRate(), record_forward)


def queued(
    inputs: Any,
    compute: Callable[[], Any] = lambda: "alone",
    kind: type[QueuedRequest] = QueuedRequest,
) -> QueuedRequest:
    request = InferenceRequest(inputs, compute, lambda outputs: outputs)
    body, waited = Input(b"", b"", b""), WaitTimes(0.0, 0.0)
    # No time limit: requests that parametrize are made long before their test runs.
    return kind(request, {}, Stages(), "id", body, waited, 0.0, ServiceRate())


def ask(scheduler: Scheduler, *requests: QueuedRequest) -> list[tuple[int, Any, str]]:
    """Return status, body and ``Retry-After`` of requests that come at the same time."""

    def outcome(one: QueuedRequest) -> Callable[[], Any]:
        try:
            answer = scheduler.run(one)
        except Exception as error:  # noqa: BLE001 - the application makes an answer of it
            return partial(_raise, error)
        return lambda: answer

    jobs = [gevent.spawn(outcome, one) for one in requests]
    gevent.joinall(jobs, timeout=10)
    return [_answered(job.get()) for job in jobs]


def _raise(error: Exception) -> None:
    raise error


def _answered(callback: Callable[[], Any]) -> tuple[int, Any, str]:
    app = bottle_app(new_id=lambda: "id")
    app.post("/predictions/a", callback=callback)
    got: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/predictions/a",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(app(environ, lambda *told: got.extend(told[:2])))
    return int(got[0].split()[0]), json.loads(body), dict(got[1]).get("Retry-After", "")


REFUSED = (402, {"code": 402, "type": "QuotaException", "message": TEXT}, "9")


@pytest.mark.parametrize(
    "request_", [queued(1, kind=Refused), queued(1, refuse)], ids=["in its turn", "by its model"]
)
def test_a_refused_request_gets_its_status(scheduler: Scheduler, request_: QueuedRequest) -> None:
    assert ask(scheduler, request_, queued(1)) == [REFUSED, (200, "alone", "")]


@pytest.mark.parametrize(
    "request_",
    [
        queued(1, kind=Refused),
        queued("no preparation"),
        queued("no fit"),
        queued("no batch", refuse),
    ],
    ids=["in its turn", "by its preparation", "beside the batch", "with the batch"],
)
def test_a_refused_request_gets_its_status_in_a_batch(
    scheduler: Scheduler, request_: QueuedRequest
) -> None:
    batcher = Batcher(scheduler, Doubles(), lambda: 2)
    found = ask(batcher, request_, queued(3))
    assert found[0] == REFUSED
    assert found[1] in [(200, 6, ""), (200, "alone", "")]
