"""The sink that ``--metrics-write-to`` names."""

from __future__ import annotations

from pathlib import Path

from mms_server.metrics.sinks import CsvSink, LogSink, Sink


def sink_for(write_to: str, csv_directory: Path) -> Sink:
    """Return the sink that a value of ``--metrics-write-to`` names."""
    if write_to == "csv":
        return CsvSink(csv_directory)
    if write_to == "cloudwatch":
        # Only who writes there pays for the import of AWS' client.
        from mms_server.metrics.cloudwatch import CloudWatchSink, client  # noqa: PLC0415

        return CloudWatchSink(client)
    return LogSink()
