"""The settings of one model: one row each, from which everything else follows.

From a row follow its line in ``mms.conf``, what a group does with it, its field in a release, and
its line in docs/mms_conf.md (``make generate``). A setting that changes an answer needs one more
line beside its row: the field that ``place`` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from mms_server.config import backend_names, sandbox, setting_rows
from mms_server.config.mms_args import MODEL_NAME
from mms_server.config.sandbox import Confinement, Lifted
from mms_server.config.setting_rows import (
    FROM_HOST,
    Needs,
    PerModel,
    Place,
    Refused,
    Row,
    Shared,
    ValueType,
    whole_number,
)

# What batches gain: docs/performance.md.
DEFAULT_BATCH: Final = 8
"""On a CPU a larger batch saves little more, and each of its requests waits for all others."""

MAX_BATCH: Final = 64
"""Most requests in one batch: the in-flight log of a worker has room for so many."""

DEFAULT_QUEUE: Final = 512
"""About half a minute's requests of a slow model; clients of a fast model do not notice it."""

_DAY_S: Final = 86_400
MOST_TIMEOUT_MS: Final = _DAY_S * 1000
"""Longest time limit of a request."""

MOST_DELAY_MS: Final = 1000
"""No engine takes so long to gain from a larger batch."""

MOST_WORKERS: Final = 1024
"""The largest hosts have fewer cores."""

MOST_QUEUE: Final = 4096
"""The default of net.core.somaxconn since Linux 5.4: the kernel's limit of a socket's queue."""


def _name(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise ValueError(text)
    return text


def _memory(example: str) -> ValueType:
    expected = f"bytes from 32M, with K, M, G or T, or a percentage like {example}"
    shown = "bytes from 32M, with K, M, G or T, or 1% to 100%"
    return ValueType(sandbox.read_memory, expected, shown, example)


@dataclass(frozen=True)
class ModelSettings:
    """The settings of one model; None stands for a setting that ``mms.conf`` does not give."""

    keep_warm_s: int | None = Row(
        type=whole_number(0, _DAY_S, "seconds"),
        default=FROM_HOST,
        in_group=Shared(),
        place=Place.NONE,
        meaning=(
            "how long a release that was replaced stays loaded, for an instant rollback; by "
            "default `mms_service_keep_warm_s`"
        ),
    ).field()
    request_timeout_ms: int | None = Row(
        type=whole_number(1, MOST_TIMEOUT_MS, "milliseconds"),
        default=0,
        in_group=PerModel(),
        place=Place.PART,
        meaning=(
            "the time limit of requests without `X-Request-Timeout-Ms`: a request that cannot be "
            "answered in this time gets 503. By default there is no limit. See "
            "[http_api.md](http_api.md#time-limits)"
        ),
    ).field()
    workers: int | None = Row(
        type=whole_number(1, MOST_WORKERS),
        default=FROM_HOST,
        in_group=Shared(),
        place=Place.RELEASE,
        meaning=(
            "the processes that compute the model; by default `--workers`, which holds for all "
            "models, or one process per physical core"
        ),
    ).field()
    max_batch_size: int | None = Row(
        type=whole_number(1, MAX_BATCH),
        default=DEFAULT_BATCH,
        in_group=Refused(1, "requests are computed one at a time"),
        place=Place.RELEASE,
        meaning=(
            "the most requests that are computed together, of those that wait while all workers "
            f"are busy; {DEFAULT_BATCH} by default; 1 turns batches off. Batches are turned off by "
            "themselves where a model gains nothing: see "
            "[service_classes.md](service_classes.md#batches)"
        ),
    ).field()
    max_batch_delay_ms: int | None = Row(
        type=whole_number(0, MOST_DELAY_MS, "milliseconds"),
        default=0,
        in_group=Refused(0, "requests do not wait for a batch"),
        place=Place.RELEASE,
        needs=Needs(
            lambda own: own.max_batch_size != 1, "its max_batch_size is 1", "max_batch_size=2"
        ),
        meaning=(
            "how long a batch that is not full waits for more requests while no other worker is "
            "idle; 0, the default, is no wait. See [service_classes.md](service_classes.md#batches)"
        ),
    ).field()
    max_queue: int | None = Row(
        type=whole_number(1, MOST_QUEUE),
        default=DEFAULT_QUEUE,
        in_group=Shared(),
        place=Place.RELEASE,
        meaning=(
            f"the most requests that wait for a worker, {DEFAULT_QUEUE} by default; one more gets "
            "503 at once, with `Retry-After`. With a `request_timeout_ms` the queue is only as "
            "long as can be answered in this time"
        ),
    ).field()
    engine: str | None = Row(
        type=setting_rows.one_of(*backend_names.TOLERANCES),
        default=backend_names.MXNET,
        in_group=Refused(backend_names.MXNET, f"models are computed by {backend_names.MXNET}"),
        place=Place.RELEASE,
        meaning=(
            f"the engine that computes the network, `{backend_names.MXNET}` by default; see "
            "[service_classes.md](service_classes.md#engines)"
        ),
    ).field()
    engine_tolerance: float | None = Row(
        type=setting_rows.share(),
        default=lambda own: backend_names.TOLERANCES[own.engine or backend_names.MXNET],
        in_group=Refused(
            backend_names.TOLERANCES[backend_names.MXNET],
            f"models are computed by {backend_names.MXNET}",
        ),
        place=Place.RELEASE,
        needs=Needs(
            lambda own: own.engine not in {None, backend_names.MXNET},
            f"its engine is {backend_names.MXNET}",
            f"engine={backend_names.ONNXRUNTIME}",
        ),
        meaning=(
            "how far the engine's outputs may be from MXNet's, as a share of the output's largest "
            "number; by default "
            + " and ".join(
                f"{most:g} for `{engine}`"
                for engine, most in backend_names.TOLERANCES.items()
                if engine != backend_names.MXNET
            )
        ),
    ).field()
    group: str | None = Row(
        type=ValueType(
            _name, "a name as models have them, and no model has", "a name, no model's", "small"
        ),
        default="",
        in_group=PerModel(),
        # A release bears the name of its group.
        place=Place.NONE,
        meaning="models of one group share its processes: see [below](#groups)",
    ).field()
    memory_high: str | None = Row(
        type=_memory("40%"),
        default="",
        in_group=Shared(),
        place=Place.CONFINEMENT,
        meaning=(
            "memory from which the kernel slows the model down; by default "
            "`mms_service_memory_high`"
        ),
    ).field()
    memory_max: str | None = Row(
        type=_memory("50%"),
        default="",
        in_group=Shared(),
        place=Place.CONFINEMENT,
        meaning=(
            "memory at which the kernel ends a process of the model; by default "
            "`mms_service_memory_max`"
        ),
    ).field()
    tasks_max: int | None = Row(
        type=whole_number(sandbox.LEAST_TASKS, sandbox.MOST_TASKS),
        default=0,
        in_group=Shared(),
        place=Place.CONFINEMENT,
        meaning="the most processes and threads of the model; by default `mms_service_tasks_max`",
    ).field()
    cpu_weight: int | None = Row(
        type=whole_number(1, sandbox.MOST_WEIGHT),
        default=0,
        in_group=Shared(),
        place=Place.CONFINEMENT,
        meaning=(
            "share of CPU time, against 100 of other models; by default `mms_service_cpu_weight`"
        ),
    ).field()
    unconfined: Lifted | None = Row(  # noqa: RUF009 - a field, as the others are
        type=ValueType(
            sandbox.read_lifted,
            f"one or more of {', '.join(sandbox.LIFTS)}, separated by commas, then a colon and a "
            f"reason of 1 to {sandbox.MOST_REASON} printable characters without a backslash",
            "`<words>: <reason>`",
            "network: asks the feature store",
        ),
        default=Lifted(),
        in_group=Shared(),
        place=Place.CONFINEMENT,
        meaning=(
            "protections that are lifted for the model: one or more of "
            + ", ".join(f"`{word}`" for word in sandbox.LIFTS)
            + ", separated by commas; without a reason it is an error. See "
            "[operations.md](operations.md#isolation)"
        ),
    ).field()

    def value(self, name: str, host: Mapping[str, Any] | None = None) -> Any:
        """Return the value of one setting; ``host`` are the settings of the host, by name."""
        return _BY_NAME[name].value(self, host or {})

    def fields_of(self, place: Place, host: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the fields of a release that the settings fill at ``place``."""
        found: dict[str, Any] = {}
        for row in ROWS:
            if row.place is place:
                found |= row.fields(row.value(self, host or {}))
        return found

    def confinement(self) -> Confinement:
        """Return how the model's release is confined."""
        return Confinement(**self.fields_of(Place.CONFINEMENT))


ROWS: Final[tuple[Row, ...]] = tuple(
    replace(each.metadata["row"], name=each.name) for each in fields(ModelSettings)
)
"""The table."""

_BY_NAME: Final = {row.name: row for row in ROWS}


def group_fields() -> dict[str, Any]:
    """Return the fields of a group's release that no model of the group can change."""
    found: dict[str, Any] = {}
    for row in ROWS:
        if isinstance(row.in_group, Refused):
            found |= row.fields(row.in_group.value)
    return found
