"""The choice of a metrics sink by ``--metrics-write-to``: log, csv or cloudwatch."""

from __future__ import annotations

from pathlib import Path

from mms_server.metrics.sinks import CsvSink, LogSink, Sink


def sink_for(write_to: str, csv_directory: Path) -> Sink:
    """Return the sink for a value of ``--metrics-write-to``."""
    if write_to == "csv":
        return CsvSink(csv_directory)
    if write_to == "cloudwatch":
        # Importing AWS' client takes time and memory: only this sink needs it.
        from mms_server.metrics.cloudwatch import CloudWatchSink, make_client  # noqa: PLC0415

        return CloudWatchSink(make_client)
    return LogSink()
