"""The abstract service classes: names and signatures are the users' interface (section 10)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mms_server.inference.module_importer import import_service
from mms_server.metrics.stage_timing import INFERENCE, POSTPROCESS, PREPROCESS, stage

URL_PREFIX = ("http://", "https://", "s3://")

# What Python 2's list-returning functions became: a service file written for Python 2 may return
# one where a list is meant.
_LAZY = (map, filter, zip)


class ModelService(ABC):
    """A loaded model that answers requests."""

    def __init__(
        self, model_name: str, model_dir: str, manifest: Mapping[str, Any], gpu: int | None = None
    ) -> None:
        """Load the model in ``model_dir``, whose MANIFEST.json is ``manifest``."""
        del model_name, model_dir, manifest, gpu
        self.ctx: Any = None

    @abstractmethod
    def inference(self, data: Any) -> Any:
        """Return the answer to one request; ``data`` has one element per input."""

    @abstractmethod
    def ping(self) -> Any:
        """Return anything if the model is well; raise if not."""

    @property
    @abstractmethod
    def signature(self) -> Any:
        """The signature as in signature.json."""


class SingleNodeService(ModelService):
    """A service of one model: preprocess, inference, postprocess."""

    def inference(self, data: Any) -> Any:
        """Return ``_postprocess(_inference(_preprocess(data)))``."""
        with stage(PREPROCESS):
            prepared = as_list(self._preprocess(data))
        with stage(INFERENCE):
            outputs = as_list(self._inference(prepared))
        with stage(POSTPROCESS):
            return as_list(self._postprocess(outputs))

    @abstractmethod
    def _inference(self, data: Any) -> Any:
        """Return the model's outputs for the prepared inputs."""

    def _preprocess(self, data: Any) -> Any:
        return data

    def _postprocess(self, data: Any) -> Any:
        return data


class MultiNodesService(ModelService):
    """Named by the contract; it adds nothing."""


def forward(service: Any, data: Any, arrays_of: Callable[[Any], Any]) -> tuple[Any, bool]:
    """Return the model's outputs as arrays and True, or the service's answer and False.

    ``arrays_of`` makes arrays of what ``_inference`` returned, or None if they are none; then, and
    for a service with an ``inference`` of its own, only the whole answer has a meaning.
    """
    if getattr(type(service), "inference", None) is not SingleNodeService.inference:
        return service.inference(data), False
    with stage(PREPROCESS):
        prepared = as_list(service._preprocess(data))  # noqa: SLF001 - the users' interface
    with stage(INFERENCE):
        outputs = as_list(service._inference(prepared))  # noqa: SLF001 - likewise
        arrays = arrays_of(outputs)
    if arrays is not None:
        return arrays, True
    with stage(POSTPROCESS):
        return as_list(service._postprocess(outputs)), False  # noqa: SLF001 - likewise


def load_service(path: str, name: str | None = None) -> ModuleType:
    """Return the module in the file ``path``; modules beside it can be imported by their names.

    ``name`` is the contract's, and without effect: the module is named after the file, below a
    package that no other service file has.

    Raises:
        ServiceError: it cannot be imported.
    """
    del name
    return import_service(Path(path))


def as_list(data: Any) -> Any:
    """Return what a function of Python 2 would have returned as a list as one."""
    return list(data) if isinstance(data, _LAZY) else data
