"""The registry of served models: facts that are known without a request to a model's server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mms_server.archives.signature import Signature
from mms_server.config.backend_names import MXNET


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    ``version`` names its release. ``signature`` is None for a 1.x handler. ``ready`` tells whether
    the model answers requests, ``trouble`` why not (empty if it does). ``workers`` is the number of
    living worker processes. A standalone server has no ``archive_sha256`` and no ``generation``.
    ``batch_size`` is how many requests are computed together, ``engine`` the name of the engine.
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
        """Return whether all models are ready, and there is at least one."""

    def troubles(self) -> Mapping[str, str]:
        """Return why models are not ready, by endpoint name; without the models that are ready."""

    def models(self) -> Mapping[str, ModelFacts]:
        """Return all models, also those that are not ready, by endpoint name."""

    def description(self) -> dict[str, Any]:
        """Return the Swagger 2.0 object of ``GET /api-description``."""
