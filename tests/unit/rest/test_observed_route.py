"""Each answer of a prediction route is recorded once, with all that metrics are made from."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import bottle
import pytest

from mms_server.core import errors
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import LoadedModel
from mms_server.inference.servable import Servable
from mms_server.metrics import stage_timing
from mms_server.metrics.prediction_record import PredictionRecord
from mms_server.metrics.stage_timing import Stages
from mms_server.rest.observed_route import observe_route
from mms_server.rest.responses import Raw, bottle_app


class RecordingObserver:
    """Keeps the records, and how many requests are in flight."""

    def __init__(self) -> None:
        self.records: list[PredictionRecord] = []
        self.count = 0

    @contextmanager
    def in_flight(self, model: str) -> Iterator[None]:
        self.count += 1
        yield
        self.count -= 1

    def record_forward(self, model: str, rows: int) -> None:
        raise AssertionError

    def record_answer(self, record: PredictionRecord) -> None:
        self.records.append(record)


class Answered:
    """The answer to one request of a model whose route is ``route``, and what was recorded."""

    def __init__(self, route: Callable[[Servable], Any]) -> None:
        observer = RecordingObserver()
        clock = map(float, count()).__next__
        model = LoadedModel("m", None, object())
        servable = Servable(model, Engine(30, list), observer=observer, clock=clock)
        app = bottle_app()
        app.post("/m", callback=observe_route(servable, route))
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/m",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
        }
        self.body = b"".join(app(environ, self._start))
        (self.record,) = observer.records

    def _start(self, status: str, headers: list[tuple[str, str]], _info: object = None) -> None:
        self.status = int(status.split(maxsplit=1)[0])
        self.headers = dict(headers)


def fails(error: Exception) -> Callable[[Servable], Any]:
    def route(_servable: Servable) -> None:
        raise error

    return route


def test_an_answer_has_its_times_and_its_size() -> None:
    def route(servable: Servable) -> dict[str, object]:
        stages = bottle.request.environ[stage_timing.ENVIRON_KEY] = Stages()
        stages.add("inference", 0.5)
        return {"prediction": ["é"]}

    found = Answered(route)
    assert found.body == b'{"prediction":["\\u00e9"]}\n'
    assert found.headers["Content-Type"] == "application/json"
    assert found.record == PredictionRecord("m", 200, 1.0, {"inference": 0.5}, len(found.body))


def test_bytes_are_sent_as_they_are() -> None:
    def route(_servable: Servable) -> Raw:
        bottle.response.status = 201
        return Raw(b"abc", "image/jpeg", {"X-One": "1"})

    found = Answered(route)
    assert (found.status, found.body) == (201, b"abc")
    assert (found.headers["Content-Type"], found.headers["X-One"]) == ("image/jpeg", "1")
    assert found.record == PredictionRecord("m", 201, 1.0, {}, 3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadInputError("x"), 400),
        (errors.PredictionTimeoutError("x"), 504),
        (ValueError("x"), 500),
        (bottle.HTTPError(418, "x"), 418),
    ],
)
def test_a_refused_request_has_a_status_and_no_size(error: Exception, status: int) -> None:
    found = Answered(fails(error))
    assert found.status == status
    assert found.record == PredictionRecord("m", status, 1.0)


@pytest.mark.parametrize("answer", [float("nan"), object()])
def test_an_answer_that_cannot_be_encoded_has_the_status_of_its_route(answer: object) -> None:
    found = Answered(lambda _servable: answer)
    assert found.status == 500
    assert found.record == PredictionRecord("m", 200, 1.0)
