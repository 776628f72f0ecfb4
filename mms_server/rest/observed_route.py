"""Routes of predictions, with one record of each answer for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bottle

from mms_server.core.refusals import status_of
from mms_server.inference.servable import Servable
from mms_server.metrics import stage_timing
from mms_server.metrics.prediction_record import PredictionRecord
from mms_server.rest.responses import Raw, encode

_OK = 200


def observe_route(servable: Servable, route: Callable[[Servable], Any]) -> Callable[[], Raw]:
    """Return a callback for Bottle that answers by ``route`` and calls the model's observer.

    The routes of all protocols are wrapped by it, so every prediction is counted once. It encodes
    the answer, since the size of the answer is a part of the record.
    """

    def callback() -> Raw:
        name, observer = servable.model.name, servable.observer
        started, status = servable.clock(), _OK
        answer_bytes: int | None = None
        try:
            try:
                with observer.in_flight(name):
                    answer = route(servable)
                status = int(bottle.response.status_code)
            except bottle.HTTPResponse as response:
                status = int(response.status_code)
                raise
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                # The metric does not include the encoding.
                overall_s = servable.clock() - started
            encoded = encode(answer)
            answer_bytes = len(encoded.body)
            return encoded
        finally:
            stages = bottle.request.environ.get(stage_timing.ENVIRON_KEY)
            stages_s = stages.seconds if stages else {}
            observer.record_answer(
                PredictionRecord(name, status, overall_s, stages_s, answer_bytes)
            )

    return callback
