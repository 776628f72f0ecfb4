"""The process that writes 0.4's metrics of a host: the command ``mms-metrics``.

The sink is named in ``mms.conf``, by ``--metrics-write-to`` and the log's flags. The process reads
them from the newest generation, so ``mms apply`` does not have to restart it.
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
from mms_server.core import console, log_setup
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.log_setup import Log
from mms_server.core.paths import Layout
from mms_server.host.generations import Generation
from mms_server.host.release import Release
from mms_server.metrics import reporter, system_metrics
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
class SinkSettings:
    """The newest generation's sink, log flags and AWS variables of mms.conf (``aws``)."""

    write_to: str = METRICS[0]
    log: Log = field(default_factory=Log)
    aws: tuple[tuple[str, str], ...] = ()


class HostMetrics:
    """Writes the metrics of the host to the sink of the newest generation."""

    def __init__(
        self,
        layout: Layout,
        usage: HostUsage,
        *,
        clock: Callable[[], float] = time.time,
        make_sink: Callable[[str, Path], Sink] = sink_for,
    ) -> None:
        self._layout = layout
        self._newest = NewestGeneration(layout)
        self._files = MetricsFiles(layout, lambda _name: False)
        self._make_sink = make_sink
        self._settings = SinkSettings()
        self._inherited = {k: v for k, v in os.environ.items() if k.startswith(_AWS)}
        self._state = layout.metrics / _STATE
        settings = self._read_settings()
        self._writer = MetricsWriter(
            self._files.read_minute,
            usage,
            self._open_sink(settings),
            last_written=self._read_state(),
            clock=clock,
        )

    def write_first_sample(self) -> None:
        """Write the first sample of the host."""
        self._writer.write_first_sample()

    def step(self) -> None:
        """Write the minutes that are due, to the sink of the newest generation.

        Raises:
            MMSError: the newest generation or its release cannot be read.
            OSError: the number of the last written minute cannot be saved.
        """
        settings = self._read_settings()
        if settings != self._settings:
            self._writer.sink = self._open_sink(settings)
        before = self._writer.last_written
        self._writer.step()
        if self._writer.last_written != before:
            write_atomically(self._state, f"{self._writer.last_written}\n")

    def _read_state(self) -> int | None:
        try:
            return int(self._state.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _read_settings(self) -> SinkSettings:
        generation = self._newest.get()
        if generation is None:
            return SinkSettings()
        release = self._any_release(generation)
        if release is None:
            return SinkSettings(generation.metrics_write_to)
        aws = tuple(sorted((k, v) for k, v in release.environment.items() if k.startswith(_AWS)))
        return SinkSettings(generation.metrics_write_to, release.log, aws)

    def _any_release(self, generation: Generation) -> Release | None:
        """Return any release: the log's flags and the AWS variables are the same in all."""
        for name in generation.models.values():
            return Release.from_json(self._layout.release_file(name).read_text("utf-8"))
        return None

    def _open_sink(self, settings: SinkSettings) -> Sink:
        """Set up the log, and return the sink; AWS' client reads the process environment."""
        log_setup.set_up(settings.log, log_setup.JOURNAL_FORMAT)
        for name in [name for name in os.environ if name.startswith(_AWS)]:
            del os.environ[name]
        os.environ.update({**self._inherited, **dict(settings.aws)})
        self._settings = settings
        return self._make_sink(settings.write_to, self._layout.log / _CSV)


def main(argv: Sequence[str] | None = None) -> int:
    """Write metrics until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="mms-metrics",
        description="Write the metrics of MXNet Model Server 0.4 for this host.",
    )
    console.add_version(parser)
    parser.add_argument("--layout-root", type=Path, default=Path("/"), help="stands for / in tests")
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    log_setup.set_up(Log(), log_setup.JOURNAL_FORMAT)
    try:
        writer = HostMetrics(Layout.under(options.layout_root), HostUsage())
        system_metrics.start_cpu_measurement()
        writer.write_first_sample()
    except (MMSError, OSError) as error:
        print(f"mms-metrics: {error}", file=sys.stderr)  # noqa: T201 - the journal
        return error.exit_code if isinstance(error, MMSError) else 1
    with contextlib.suppress(KeyboardInterrupt):
        reporter.run(writer.step, stop.wait)
    return 0
