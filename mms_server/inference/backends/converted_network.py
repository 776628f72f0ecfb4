"""Cache of converted networks: an entry of the store, and an outbox in the release's directory.

A release converts its network when it loads, but can write only into its own directory. Root moves
the file from there into the store, without reading it. So the model's own code may have written a
cached network. Only releases of the same model load it, and they compare it with the reference
like a new one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mms_server.core.untrusted_files import read_bounded, replace_group_file

FILE_NAME: Final = "network"
MAX_BYTES: Final = 1024 * 1024 * 1024
"""Larger networks are not cached: they are converted at each load."""

_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """A converted network; ``header`` has the converter's versions and what reading needs."""

    header: Mapping[str, Any]
    data: bytes

    def to_bytes(self) -> bytes:
        """Return the content of the file: the header as a line of JSON, then the data."""
        return json.dumps(dict(self.header), sort_keys=True).encode() + b"\n" + self.data


@dataclass(frozen=True)
class ConversionCache:
    """The store's entry of a release's conversion, and the file for a new one; None: no caching."""

    entry: Path | None = None
    outbox: Path | None = None

    @property
    def has_entry(self) -> bool:
        """Whether there is a cached network."""
        return self.entry is not None and (self.entry / FILE_NAME).exists()

    def read(self, converter: Mapping[str, Any]) -> Conversion | None:
        """Return the cached network; None if there is none, or its converter is another one.

        ``converter`` is compared with the header: name of the backend, versions and options.
        """
        if self.entry is None:
            return None
        raw = read_bounded(self.entry / FILE_NAME, MAX_BYTES)
        line, line_end, data = raw.partition(b"\n")
        if not line_end or len(line) > _MAX_HEADER_BYTES:
            return None
        try:
            header = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(header, dict):
            return None
        if any(header.get(key) != value for key, value in converter.items()):
            return None
        _log.info("the converted network was read from the store")
        return Conversion(header, data)

    def publish(self, conversion: Conversion) -> None:
        """Write a new network into the outbox; if that fails, the next load converts again."""
        if self.outbox is None:
            return
        raw = conversion.to_bytes()
        if len(raw) > MAX_BYTES:
            return
        try:
            replace_group_file(self.outbox, raw)
        except OSError as error:
            _log.warning("the converted network cannot be kept for the next start: %s", error)
