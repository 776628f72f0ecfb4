"""The base of services around a Gluon network (contract, section 10)."""

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
    """A network that the subclass makes and passes as ``net``; its stages are the subclass's.

    Attributes of the contract: ``net``, ``ctx``, ``model_name``, ``param_filename``,
    ``_signature``, and ``labels`` if the archive has a synset.txt.

    Parameters that cannot be loaded are logged, no more: a subclass may go on and set values
    itself. Whether it has is asked by :func:`unset_parameters` when it is done.
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
        except Exception:  # noqa: BLE001 - contract; what is left without values is refused later
            _log.exception("the parameters in %s could not be loaded into the network", file.name)

    def _preprocess(self, data: Any) -> Any:
        """Do nothing: to be overridden."""

    def _inference(self, data: list[Any]) -> Any:
        """Check the inputs' shapes; to be overridden by a method that computes as well."""
        check_input_shape(data, self.signature)

    def _postprocess(self, data: Any) -> Any:
        """Do nothing: to be overridden."""

    def ping(self) -> str:
        """Return the engine's version."""
        return str(mx.__version__)

    @property
    def signature(self) -> Any:
        """The signature as in signature.json."""
        return self._signature


def unset_parameters(net: Any) -> list[str]:
    """Return the names of a network's parameters that have no values and are not to get any.

    A parameter that is initialized, but whose shape is only known after a first forward, is set.
    """
    if not isinstance(net, mx.gluon.Block):
        return []
    return sorted(name for name, row in net.collect_params().items() if not _is_set(row))


def _is_set(parameter: Any) -> bool:
    try:
        parameter.list_ctx()
    except RuntimeError:
        return False
    return True
