"""What a client is told when as many requests wait for a model as may.

The kernel refuses the connection then, and nginx asks here how to word that, once a second for each
model: a flood of refusals costs the control application nothing.
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
from mms_server.metrics import multiprocess
from mms_server.overload.backlog_limit import backlog_for

LEAST_S: Final = 0.5
MOST_S: Final = 30.0
"""Between two counts: less is noise, and what was longer ago is not how it is now."""

LONGEST_WAIT_S: Final = 60
_TYPE: Final = "ServiceUnavailableException"


@dataclass(frozen=True)
class Queue:
    """The queue of a release: ``most`` requests may wait in it, ``limit_s`` each, 0 for ever."""

    model: str
    release: str
    most: int
    limit_s: float = 0.0


class DrainRates:
    """Requests that releases answer in a second; ``answered`` is how many one has answered."""

    def __init__(
        self, answered: Callable[[str], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answered = answered
        self._clock = clock
        self._seen: dict[str, tuple[float, float, float]] = {}

    def of(self, release: str) -> float:
        """Return the rate since the last question, 0 if that was never or too long ago."""
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
    """Return how many predictions a release has answered, 0 if that cannot be read."""
    try:
        found = multiprocess.merge(multiprocess.counter_files(layout.release_metrics(release), gauges=False))
    except OSError:
        return 0.0
    return sum(
        float(sample.value)
        for metric in found
        if metric.name == "mms_predictions"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def refusal(queue: Queue, rate: float) -> tuple[int, dict[str, Any]]:
    """Return the seconds of ``Retry-After``, and the body: of 0.4, of 1.x and of the OIP in one."""
    depth = backlog_for(rate, queue.limit_s, queue.most)
    estimate_s = depth / rate if rate else None
    pace = f", and {rate:.3g} are answered in a second" if rate else ""
    text = f"{queue.model} is busy: {depth} requests wait, the most that may{pace}."
    about = {"depth": depth, "rate_per_s": round(rate, 3)}
    if estimate_s is not None:
        about["estimate_s"] = round(estimate_s, 3)
    body = {"code": 503, "error": text, "message": text, "type": _TYPE, "queue": about}
    return min(max(math.ceil(estimate_s or 1), 1), LONGEST_WAIT_S), body


def load_shedding_route(
    app: Any, queue_of: Callable[[str], Queue | None], rates: DrainRates
) -> None:
    """Add the route that nginx asks; ``queue_of`` returns None for what is not served or ready."""

    def full(name: str) -> bytes:
        queue = queue_of(name)
        if queue is None:
            raise UnavailableError(
                f"Model {name} is not ready.", fix="try again in a moment; see GET /ping."
            )
        retry_s, body = refusal(queue, rates.of(queue.release))
        bottle.response.status = 503
        bottle.response.set_header("Retry-After", str(retry_s))
        bottle.response.content_type = "application/json"
        return json.dumps(body, sort_keys=True).encode() + b"\n"

    app.get("/@full/<name>", callback=full, skip=True)
