"""The settings of one model: one row each, with its reader, its bounds and its description."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

from mms_server.config import backend_names, sandbox
from mms_server.config.mms_args import MODEL_NAME
from mms_server.config.sandbox import Confinement, Lifted

# What it gains: docs/performance.md.
DEFAULT_BATCH: Final = 8
"""On a processor most of what a batch saves is saved by then, and no request waits for many."""

MAX_BATCH: Final = 64
"""Most requests that are computed together: so many are noted of a worker, in case it dies."""

DEFAULT_QUEUE: Final = 512
"""Half a minute's requests of a slow model, and none that a fast one's clients would notice."""

_DAY_S: Final = 86_400
_DECIMAL: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,9})?")
MOST_TIMEOUT_MS: Final = _DAY_S * 1000
"""Longest time that a client may give a request."""

MOST_DELAY_MS: Final = 1000
"""Longer than any engine takes to gain from a larger batch."""

MOST_WORKERS: Final = 1024
"""More than the largest hosts have cores."""

MOST_QUEUE: Final = 4096
"""The kernel's own limit of a socket's queue, net.core.somaxconn, since Linux 5.4."""


def _row(read: Callable[[str], Any], expected: str, text: str) -> Any:
    """Return a field; ``read`` raises ValueError on what is not ``expected``."""
    return field(default=None, metadata={"read": read, "expected": expected, "help": text})


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return read


def _engine(text: str) -> str:
    if text not in backend_names.TOLERANCES:
        raise ValueError(text)
    return text


def _name(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise ValueError(text)
    return text


def _share(text: str) -> float:
    """Return a number above 0, up to 1."""
    number = float(text) if _DECIMAL.fullmatch(text) else 0.0
    if not 0 < number <= 1:
        raise ValueError(text)
    return number


@dataclass(frozen=True)
class ModelSettings:
    """The settings of one model; None stands for the host's setting or the server's default."""

    keep_warm_s: int | None = _row(
        _whole(0, _DAY_S),
        f"a whole number of seconds, 0 to {_DAY_S}",
        "How long the release that was replaced stays loaded, for an instant rollback.",
    )
    request_timeout_ms: int | None = _row(
        _whole(1, MOST_TIMEOUT_MS),
        f"a whole number of milliseconds, 1 to {MOST_TIMEOUT_MS}",
        "How long a client waits that sends no X-Request-Timeout-Ms; what cannot be answered by "
        "then is refused.",
    )
    workers: int | None = _row(
        _whole(1, MOST_WORKERS),
        f"a whole number, 1 to {MOST_WORKERS}",
        "Processes that compute the model, in place of --workers, which holds for all.",
    )
    max_batch_size: int | None = _row(
        _whole(1, MAX_BATCH),
        f"a whole number, 1 to {MAX_BATCH}",
        "Most requests that are computed together, where that helps; 1 is one at a time.",
    )
    max_batch_delay_ms: int | None = _row(
        _whole(0, MOST_DELAY_MS),
        f"a whole number of milliseconds, 0 to {MOST_DELAY_MS}",
        "How long a batch that is not full waits for more requests; 0, the default, is never.",
    )
    max_queue: int | None = _row(
        _whole(1, MOST_QUEUE),
        f"a whole number, 1 to {MOST_QUEUE}",
        "Most requests that wait for a worker; more are refused at once.",
    )
    engine: str | None = _row(
        _engine,
        f"one of {', '.join(backend_names.TOLERANCES)}",
        "What computes the network; another engine than mxnet has to come near its answers.",
    )
    engine_tolerance: float | None = _row(
        _share,
        "a number above 0, up to 1",
        "How far the engine's outputs may be from MXNet's, as a share of their largest number.",
    )
    group: str | None = _row(
        _name,
        "a name as models have them, and no model has",
        "Models of one group share its processes: the engine is loaded once for all of them.",
    )
    memory_high: str | None = _row(
        sandbox.read_memory,
        "bytes from 32M, with K, M, G or T, or a percentage like 40%",
        "Memory from which the kernel slows the model down.",
    )
    memory_max: str | None = _row(
        sandbox.read_memory,
        "bytes from 32M, with K, M, G or T, or a percentage like 50%",
        "Memory at which the kernel ends a process of the model.",
    )
    tasks_max: int | None = _row(
        sandbox.read_tasks,
        f"a whole number, 16 to {sandbox.MOST_TASKS}",
        "Processes and threads of the model.",
    )
    cpu_weight: int | None = _row(
        sandbox.read_weight,
        f"a whole number, 1 to {sandbox.MOST_WEIGHT}",
        "Share of the processor, against 100 of other models.",
    )
    unconfined: Lifted | None = _row(  # noqa: RUF009 - a field, as the others are
        sandbox.read_lifted,
        f"one or more of {', '.join(sandbox.LIFTS)}, separated by commas, then a colon and a "
        f"reason of 1 to {sandbox.MOST_REASON} printable characters without a backslash",
        "Protections that the model runs without, and why.",
    )

    def tolerance(self) -> float:
        """Return how far the engine may be from MXNet's outputs."""
        given = self.engine_tolerance
        return (
            backend_names.TOLERANCES[self.engine or backend_names.MXNET] if given is None else given
        )

    def confinement(self) -> Confinement:
        """Return how the model's release is confined."""
        lifted = self.unconfined or Lifted((), "")
        return Confinement(
            memory_high=self.memory_high or "",
            memory_max=self.memory_max or "",
            tasks_max=self.tasks_max or 0,
            cpu_weight=self.cpu_weight or 0,
            lifted=lifted.words,
            reason=lifted.reason,
        )


def rows() -> tuple[Field[Any], ...]:
    """Return the table's rows; ``metadata`` holds read, expected and help."""
    return fields(ModelSettings)
