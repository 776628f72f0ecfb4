"""Base class of services with a Gluon network, as 0.4 has it (docs/service_classes.md)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx

from mms_server.inference.services.labels import read_labels
from mms_server.inference.services.model_service import SingleNodeService
from mms_server.inference.services.mxnet_model_service import check_input_shape

_log = logging.getLogger(__name__)


class GluonImperativeBaseService(SingleNodeService):
    """Loads the parameters of ``net``, a network that the subclass creates.

    The subclass overrides ``_preprocess``, ``_inference`` and ``_postprocess``. Attributes of 0.4:
    ``net``, ``ctx``, ``model_name``, ``param_filename``, ``_signature``, and ``labels`` if the
    archive has a synset.txt.

    Parameters that cannot be loaded are only logged, because the subclass may set values itself.
    After its constructor, :func:`unset_parameters` finds parameters that are still without values.
    """

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: Mapping[str, Any],
        net: Any = None,
        gpu: int | None = None,
    ) -> None:
        super().__init__(model_name, model_dir, manifest, gpu)
        directory, model = Path(model_dir), manifest["Model"]
        self.model_name = model_name
        self.ctx = mx.gpu(int(gpu)) if gpu is not None else mx.cpu()
        self.net = net
        self.param_filename = model.get("Parameters") or ""
        self._signature = json.loads((directory / model["Signature"]).read_text("utf-8-sig"))
        if net is not None and self.param_filename:
            self._load_parameters(directory / self.param_filename)
        labels = read_labels(directory)
        if labels is not None:
            self.labels = labels

    def _load_parameters(self, file: Path) -> None:
        try:
            self.net.load_parameters(str(file), ctx=self.ctx)
        except Exception:  # noqa: BLE001 - as 0.4; parameters without values are refused later
            _log.exception("the parameters in %s could not be loaded into the network", file.name)

    def _preprocess(self, data: Any) -> Any:
        """Return None; subclasses override it."""

    def _inference(self, data: list[Any]) -> Any:
        """Check the shapes of the inputs; subclasses override it, call it, and compute."""
        check_input_shape(data, self.signature)

    def _postprocess(self, data: Any) -> Any:
        """Return None; subclasses override it."""

    def ping(self) -> str:
        """Return the version of MXNet."""
        return str(mx.__version__)

    @property
    def signature(self) -> Any:
        """The content of signature.json."""
        return self._signature


def unset_parameters(net: Any) -> list[str]:
    """Return the names of the parameters of a network that have no values and will not get any.

    An initialized parameter counts as set, even if its shape is only known after the first forward.
    """
    if not isinstance(net, mx.gluon.Block):
        return []
    parameters = net.collect_params().items()
    return sorted(name for name, parameter in parameters if not _is_set(parameter))


def _is_set(parameter: Any) -> bool:
    try:
        parameter.list_ctx()
    except RuntimeError:
        return False
    return True
