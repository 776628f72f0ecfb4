"""The decision about batches of a loading release: logged, and written into its directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mms_server.config.model_settings import MAX_BATCH
from mms_server.core.untrusted_files import read_bounded, replace_group_file
from mms_server.host.instance_files import InstanceFiles

_MAX_BYTES: Final = 64 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchDecision:
    """The largest batch, 1 for one request at a time, and the reason.

    ``row_ms`` is the cost of a row of the network in milliseconds of CPU time, by batch size.
    """

    max_batch: int
    reason: str
    row_ms: Mapping[int, float] = field(default_factory=dict)


def record(model: str, decision: BatchDecision, instance_files: InstanceFiles) -> None:
    """Log a decision and write it into the release's directory."""
    costs = ", ".join(f"{size}: {ms:.3f}" for size, ms in decision.row_ms.items())
    shown = f" (ms a row by size: {costs})" if costs else ""
    _log.info(
        "%s computes up to %d requests together: %s%s",
        model,
        decision.max_batch,
        decision.reason,
        shown,
    )
    content = {"most": decision.max_batch, "reason": decision.reason, "row_ms": decision.row_ms}
    try:
        replace_group_file(instance_files.batching, json.dumps(content).encode())
    except OSError as error:
        _log.warning("the decision about batches cannot be written: %s", error)


def read_max_batch(file: Path) -> int:
    """Return the largest batch of the release with this file; 1 if the file has no valid one."""
    try:
        content: Any = json.loads(read_bounded(file, _MAX_BYTES) or b"{}")
        max_batch = content.get("most", 1)
    except (ValueError, AttributeError, RecursionError):
        return 1
    # The model's code can write this file too, so the value is checked.
    return max_batch if type(max_batch) is int and 1 <= max_batch <= MAX_BATCH else 1
