"""The options of the standalone server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mms_server.core.log_setup import Log


@dataclass(frozen=True)
class Options:
    """The options of the server; ``models`` is endpoint name -> unpacked directory.

    ``scratch`` is a directory that is removed when the server has ended.
    """

    models: dict[str, Path]
    service: str
    host: str
    port: int
    workers: int
    log: Log
    metrics_write_to: str
    scratch: Path
    gpu: int | None = None
    num_gpu: int = 0

    @property
    def on_gpu(self) -> bool:
        """Return whether the workers compute on GPUs."""
        return self.gpu is not None or self.num_gpu > 0
