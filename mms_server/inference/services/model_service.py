"""Abstract service classes; names and signatures are those of 0.4 (docs/service_classes.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mms_server.inference.module_importer import import_service
from mms_server.metrics.stage_timing import INFERENCE, POSTPROCESS, PREPROCESS, stage

URL_PREFIX = ("http://", "https://", "s3://")

# map(), filter() and zip() returned lists in Python 2. A service file that was written for Python 2
# may return one of these where it means a list.
_LAZY = (map, filter, zip)


class ModelService(ABC):
    """A loaded model that answers requests."""

    def __init__(
        self, model_name: str, model_dir: str, manifest: Mapping[str, Any], gpu: int | None = None
    ) -> None:
        """Load the model in ``model_dir``; ``manifest`` is the content of its MANIFEST.json."""
        del model_name, model_dir, manifest, gpu
        self.ctx: Any = None

    @abstractmethod
    def inference(self, data: Any) -> Any:
        """Return the answer to one request; ``data`` has one element per input."""

    @abstractmethod
    def ping(self) -> Any:
        """Return any value if the model is healthy; raise an exception if not."""

    @property
    @abstractmethod
    def signature(self) -> Any:
        """The content of signature.json."""


class SingleNodeService(ModelService):
    """A service of one model in three stages: preprocess, inference, postprocess."""

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
    """A name of 0.4; it adds nothing."""


def infer_arrays(service: Any, data: Any, to_arrays: Callable[[Any], Any]) -> tuple[Any, bool]:
    """Return the model's outputs as arrays and True, or the service's answer and False.

    ``to_arrays`` converts the result of ``_inference``; it returns None if that is not possible.
    Then the answer is returned instead. It is also returned if the service overrides ``inference``,
    because only the complete answer of such a service has a meaning.
    """
    if getattr(type(service), "inference", None) is not SingleNodeService.inference:
        return service.inference(data), False
    with stage(PREPROCESS):
        prepared = as_list(service._preprocess(data))  # noqa: SLF001 - the users' interface
    with stage(INFERENCE):
        outputs = as_list(service._inference(prepared))  # noqa: SLF001 - likewise
        arrays = to_arrays(outputs)
    if arrays is not None:
        return arrays, True
    with stage(POSTPROCESS):
        return as_list(service._postprocess(outputs)), False  # noqa: SLF001 - likewise


def load_service(path: str, name: str | None = None) -> ModuleType:
    """Return the module in the file ``path``; it can import the modules in the same directory.

    ``name`` is a parameter of 0.4 without effect here. The module is named after the file, below a
    package of its own.

    Raises:
        ServiceError: the file cannot be imported.
    """
    del name
    return import_service(Path(path))


def as_list(data: Any) -> Any:
    """Return a map, filter or zip object as a list, as in Python 2; return other data unchanged."""
    return list(data) if isinstance(data, _LAZY) else data
