"""What was found out about batches while a release loaded: logged, and kept in its directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mms_server.config.model_settings import MAX_BATCH
from mms_server.core.untrusted_files import read_bounded, replace_group_file
from mms_server.host.instance_files import InstanceFiles

_MAX_BYTES: Final = 64 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchDecision:
    """How many requests are computed together, and why; 1 is one at a time.

    ``row_ms`` is what a row of the network costs the processor, in milliseconds, by size of batch.
    """

    most: int
    reason: str
    row_ms: Mapping[int, float] = field(default_factory=dict)


def tell(model: str, verdict: BatchDecision, instance_files: InstanceFiles) -> None:
    """Log a verdict and keep it in the release's directory."""
    costs = ", ".join(f"{size}: {ms:.3f}" for size, ms in verdict.row_ms.items())
    shown = f" (ms a row by size: {costs})" if costs else ""
    _log.info(
        "%s computes up to %d requests together: %s%s", model, verdict.most, verdict.reason, shown
    )
    try:
        replace_group_file(instance_files.batching, json.dumps(asdict(verdict)).encode())
    except OSError as error:
        _log.warning("what was found out about batches is not kept: %s", error)


def most_of(file: Path) -> int:
    """Return how many requests the release of such a file computes together; 1 if it says none."""
    try:
        found: Any = json.loads(read_bounded(file, _MAX_BYTES) or b"{}")
        most = found.get("most", 1)
    except (ValueError, AttributeError, RecursionError):
        return 1
    # The model's code can write there too.
    return most if type(most) is int and 1 <= most <= MAX_BATCH else 1
