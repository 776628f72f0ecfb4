"""The process that writes 0.4's metrics of a host: the command ``mms-metrics``.

What it writes to is said in ``mms.conf``, by ``--metrics-write-to`` and the log's flags; it follows
the newest generation, so an apply needs not restart it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mms_server.config.mms_args import METRICS
from mms_server.core import log_setup
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.log_setup import Log
from mms_server.core.paths import Layout
from mms_server.host.generations import Generation
from mms_server.host.release import Release
from mms_server.metrics import reporter, system_metrics
from mms_server.metrics.minute_stats import Key, Statistic
from mms_server.metrics.multiprocess_files import MetricsFiles
from mms_server.metrics.reporter import MetricsWriter
from mms_server.metrics.sink_selection import sink_for
from mms_server.metrics.sinks import Sink
from mms_server.metrics.system_metrics import HostUsage
from mms_server.server.health import NewestGeneration

_STATE: Final = "written"
_CSV: Final = "metrics"
_AWS: Final = "AWS_"


@dataclass(frozen=True)
class Orders:
    """What the newest generation says of writing; ``aws`` holds AWS' variables of mms.conf."""

    write_to: str = METRICS[0]
    log: Log = field(default_factory=Log)
    aws: tuple[tuple[str, str], ...] = ()


class HostMetrics:
    """The host's writer; ``environ`` is what AWS' client reads."""

    def __init__(
        self,
        layout: Layout,
        usage: HostUsage,
        *,
        clock: Callable[[], float] = time.time,
        sink: Callable[[str, Path], Sink] = sink_for,
    ) -> None:
        self._layout = layout
        self._newest = NewestGeneration(layout)
        self._files = MetricsFiles(layout, lambda _name: False)
        self._sink = sink
        self._orders = Orders()
        self._inherited = {k: v for k, v in os.environ.items() if k.startswith(_AWS)}
        self._state = layout.metrics / _STATE
        orders = self._read_orders()
        self._writer = MetricsWriter(
            self._counted, usage, self._take(orders), written=self._read_state(), clock=clock
        )

    def begin(self) -> None:
        """Write the first sample of the host."""
        self._writer.begin()

    def step(self) -> None:
        """Write what is due, to where the newest generation says.

        Raises:
            MMSError: the newest generation or its release cannot be read.
            OSError: the state cannot be kept.
        """
        orders = self._read_orders()
        if orders != self._orders:
            self._writer.sink = self._take(orders)
        before = self._writer.written
        self._writer.step()
        if self._writer.written != before:
            write_atomically(self._state, f"{self._writer.written}\n")

    def _counted(self, minute: int) -> dict[Key, Statistic]:
        return self._files.minute(minute)

    def _read_state(self) -> int | None:
        try:
            return int(self._state.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _read_orders(self) -> Orders:
        generation = self._newest.get()
        if generation is None:
            return Orders()
        release = self._any_release(generation)
        if release is None:
            return Orders(generation.metrics_write_to)
        aws = tuple(sorted((k, v) for k, v in release.environment.items() if k.startswith(_AWS)))
        return Orders(generation.metrics_write_to, release.log, aws)

    def _any_release(self, generation: Generation) -> Release | None:
        """Return one release: what is read of it is the same in all."""
        for name in generation.models.values():
            return Release.from_json(self._layout.release_file(name).read_text("utf-8"))
        return None

    def _take(self, orders: Orders) -> Sink:
        log_setup.set_up(orders.log, log_setup.JOURNAL)
        for name in [name for name in os.environ if name.startswith(_AWS)]:
            del os.environ[name]
        os.environ.update({**self._inherited, **dict(orders.aws)})
        self._orders = orders
        return self._sink(orders.write_to, self._layout.log / _CSV)


def main(argv: Sequence[str] | None = None) -> int:
    """Write metrics until a signal ends it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="mms-metrics",
        description="Write the metrics of MXNet Model Server 0.4 for this host.",
    )
    parser.add_argument("--layout-root", type=Path, default=Path("/"), help="stands for / in tests")
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    log_setup.set_up(Log(), log_setup.JOURNAL)
    try:
        writer = HostMetrics(Layout.under(options.layout_root), HostUsage())
        system_metrics.first()
        writer.begin()
    except (MMSError, OSError) as error:
        print(f"mms-metrics: {error}", file=sys.stderr)  # noqa: T201 - the journal
        return error.exit_code if isinstance(error, MMSError) else 1
    with contextlib.suppress(KeyboardInterrupt):
        reporter.run(writer.step, stop.wait)
    return 0
