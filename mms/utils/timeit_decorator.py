"""A decorator that logs the duration of calls, under its name of 0.4."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mms.log import get_logger

P = ParamSpec("P")
T = TypeVar("T")


def timeit(func: Callable[P, T]) -> Callable[P, T]:
    """Return ``func`` with one log line per call: wall-clock and CPU seconds."""

    @functools.wraps(func)
    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return func(*args, **kwargs)
        finally:
            get_logger().info(
                "%s took %.4f s, %.4f s of CPU time",
                func.__name__,
                time.perf_counter() - wall,
                time.process_time() - cpu,
            )

    return timed
