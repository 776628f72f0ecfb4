"""A converted network as bytes: kept in the store by what it is made of, left by who made it.

A release's process converts, and may write nowhere but into its own directory; root takes the file
from there into the store, unread. So a kept network is one that the model's own code may have
written. Nobody else loads it, and it is compared with the reference like a new one.
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
"""What is larger is converted at each load."""

_MAX_HEAD: Final = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """A network: ``about`` says by what it was made and what it takes to read ``data``."""

    about: Mapping[str, Any]
    data: bytes

    def to_bytes(self) -> bytes:
        """Return it as one file: a line of JSON, then the data."""
        return json.dumps(dict(self.about), sort_keys=True).encode() + b"\n" + self.data


@dataclass(frozen=True)
class ConversionCache:
    """Where a release's conversion is kept, and where a new one is left; None for nowhere."""

    entry: Path | None = None
    left: Path | None = None

    @property
    def there(self) -> bool:
        """Whether something is kept."""
        return self.entry is not None and (self.entry / FILE_NAME).exists()

    def read(self, made_by: Mapping[str, Any]) -> Conversion | None:
        """Return the network that is kept, None if there is none that was made by the same."""
        if self.entry is None:
            return None
        raw = read_bounded(self.entry / FILE_NAME, MAX_BYTES)
        head, line_end, data = raw.partition(b"\n")
        if not line_end or len(head) > _MAX_HEAD:
            return None
        try:
            about = json.loads(head)
        except (ValueError, RecursionError):
            return None
        if not isinstance(about, dict) or any(about.get(key) != made_by[key] for key in made_by):
            return None
        _log.info("the converted network was kept")
        return Conversion(about, data)

    def leave(self, made: Conversion) -> None:
        """Leave a new network to be kept; if that fails, it is made again another time."""
        if self.left is None:
            return
        raw = made.to_bytes()
        if len(raw) > MAX_BYTES:
            return
        try:
            replace_group_file(self.left, raw)
        except OSError as error:
            _log.warning("the converted network is not kept: %s", error)
