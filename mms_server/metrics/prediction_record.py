"""What is known of one answered prediction request: all metrics of predictions are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PredictionRecord:
    """An answered prediction request of ``model`` (an endpoint name); times are in seconds.

    ``status`` is the HTTP status. ``overall_s`` lasts from reading the request until the answer is
    known; ``stages_s`` is by stage (:mod:`mms_server.metrics.stage_timing`). ``answer_bytes`` is
    the size of the encoded answer; None for an error page, and if the answer cannot be encoded.
    """

    model: str
    status: int
    overall_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)
    answer_bytes: int | None = None
