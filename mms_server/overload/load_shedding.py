"""Load shedding: the answer to a request when the backlog of its model is full.

The kernel refuses nginx's ``connect()`` then. nginx asks the control application for the answer and
keeps it for a second for each model, so a flood of requests costs the control application nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import bottle

from mms_server.core.errors import UnavailableError
from mms_server.core.paths import Layout
from mms_server.core.refusals import BACKLOG_FULL, status_of
from mms_server.metrics import multiprocess
from mms_server.overload.backlog_limit import backlog_for

LEAST_S: Final = 0.5
MOST_S: Final = 30.0
"""Time between two counts of a rate: a shorter one is noise, a longer one is out of date."""

LONGEST_WAIT_S: Final = 60
_PATHS: Final = (
    "/@backlog_full/<name>",
    # nginx.conf of 0.1 asks by this name until `mms edge` has written the new one: remove in 0.3.
    "/@full/<name>",
)


@dataclass(frozen=True)
class Queue:
    """The queue of a release: up to ``most`` requests wait, up to ``limit_s`` each; 0: no limit."""

    model: str
    release: str
    most: int
    limit_s: float = 0.0


class DrainRates:
    """How many requests releases answer in a second, from ``answered``, their counter."""

    def __init__(
        self, answered: Callable[[str], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answered = answered
        self._clock = clock
        self._seen: dict[str, tuple[float, float, float]] = {}

    def of(self, release: str) -> float:
        """Return the rate since the last call; 0 if there was none, or too long ago."""
        now, count = self._clock(), self._answered(release)
        at, before, rate = self._seen.get(release, (-math.inf, 0.0, 0.0))
        if now - at < LEAST_S:
            return rate
        recent = now - at <= MOST_S and count >= before
        rate = (count - before) / (now - at) if recent else 0.0
        kept = {name: seen for name, seen in self._seen.items() if now - seen[0] <= MOST_S}
        self._seen = kept | {release: (now, count, rate)}
        return rate


def answered(layout: Layout, release: str) -> float:
    """Return how many predictions a release has answered; 0 if the counts cannot be read."""
    try:
        found = multiprocess.merge(
            multiprocess.counter_files(layout.release_metrics(release), gauges=False)
        )
    except OSError:
        return 0.0
    return sum(
        float(sample.value)
        for metric in found
        if metric.name == "mms_predictions"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def backlog_full_answer(queue: Queue, rate: float) -> tuple[int, dict[str, Any]]:
    """Return the value of ``Retry-After``, and one body with the fields of all protocols."""
    depth = backlog_for(rate, queue.limit_s, queue.most)
    estimate_s = depth / rate if rate else None
    pace = f", and {rate:.3g} are answered in a second" if rate else ""
    text = f"{queue.model} is busy: {depth} requests wait, the most that may{pace}."
    about = {"depth": depth, "rate_per_s": round(rate, 3)}
    if estimate_s is not None:
        about["estimate_s"] = round(estimate_s, 3)
    kind = {"code": BACKLOG_FULL.status, "type": BACKLOG_FULL.mms1_type}
    body = {**kind, "error": text, "message": text, "queue": about}
    return min(max(math.ceil(estimate_s or 1), 1), LONGEST_WAIT_S), body


def load_shedding_route(
    app: Any, queue_of: Callable[[str], Queue | None], rates: DrainRates
) -> None:
    """Add the route that nginx asks; ``queue_of`` returns None if the model is not ready."""

    def backlog_full(name: str) -> bytes:
        queue = queue_of(name)
        if queue is None:
            error = UnavailableError(
                f"Model {name} is not ready.", fix="try again in a moment; see GET /ping."
            )
            # No plugin of Bottle makes a page of an error here.
            raise bottle.HTTPError(status_of(error), str(error))
        retry_s, body = backlog_full_answer(queue, rates.of(queue.release))
        bottle.response.status = BACKLOG_FULL.status
        bottle.response.set_header("Retry-After", str(retry_s))
        bottle.response.content_type = "application/json"
        return json.dumps(body, sort_keys=True).encode() + b"\n"

    for path in _PATHS:
        app.get(path, callback=backlog_full, skip=True)
