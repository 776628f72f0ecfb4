"""What is known of the served models without asking any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mms_server.archives.signature import Signature
from mms_server.config.backend_names import MXNET


@dataclass(frozen=True)
class ModelFacts:
    """One model: ``version`` names its release; ``signature`` is None for a 1.x handler.

    ``ready`` means that a request would be answered; ``workers`` counts living worker processes.
    A standalone server knows no ``archive_sha256`` and no ``generation``. ``trouble`` is why it is
    not ready, in words, empty if it is. ``batch_size`` is how many requests are computed together,
    ``engine`` what computes them.
    """

    name: str
    version: str
    ready: bool
    workers: int
    workers_wanted: int
    signature: Signature | None
    archive_sha256: str = ""
    generation: int = 0
    trouble: str = ""
    batch_size: int = 1
    engine: str = MXNET


class ModelRegistry(Protocol):
    """The models of a host, or of a standalone server."""

    def healthy(self) -> bool:
        """Return whether every wanted model is ready, and at least one is wanted."""

    def troubles(self) -> Mapping[str, str]:
        """Return why models are not ready, by endpoint name; those that are ready are left out."""

    def models(self) -> Mapping[str, ModelFacts]:
        """Return the wanted models by endpoint name."""

    def description(self) -> dict[str, Any]:
        """Return the Swagger 2.0 object of ``GET /api-description``."""
