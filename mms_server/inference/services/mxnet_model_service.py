"""Base service of 0.4: a symbol with parameters, numbers in and out (docs/service_classes.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx

from mms_server.inference.services.labels import read_labels
from mms_server.inference.services.model_service import SingleNodeService
from mms_server.inference.services.module import bind_module, epoch_of


class MXNetBaseService(SingleNodeService):
    """Runs a Module that is bound with a batch of one.

    Attributes of 0.4: ``ctx``, ``mx_model``, ``model_name``, ``param_filename``, ``_signature``,
    and ``labels`` if the archive has a synset.txt.
    """

    def __init__(
        self, model_name: str, model_dir: str, manifest: Mapping[str, Any], gpu: int | None = None
    ) -> None:
        super().__init__(model_name, model_dir, manifest, gpu)
        directory, model = Path(model_dir), manifest["Model"]
        self.model_name = model_name
        self.ctx = mx.gpu(int(gpu)) if gpu is not None else mx.cpu()
        self.param_filename = model.get("Parameters") or ""
        self._signature = json.loads((directory / model["Signature"]).read_text("utf-8-sig"))
        epoch = epoch_of(self.param_filename, model_name)
        self.mx_model = bind_module(directory, model["Symbol"], epoch, self._signature, self.ctx)
        labels = read_labels(directory)
        if labels is not None:
            self.labels = labels

    def _preprocess(self, data: list[Any]) -> list[Any]:
        return [mx.nd.array(values) for values in data]

    def _inference(self, data: list[Any]) -> list[Any]:
        check_input_shape(data, self.signature)
        inputs = [array.as_in_context(self.ctx) for array in data]
        self.mx_model.forward(mx.io.DataBatch(inputs), is_train=False)
        outputs: list[Any] = self.mx_model.get_outputs()
        for output in outputs:
            output.wait_to_read()
        return outputs

    def _postprocess(self, data: list[Any]) -> Any:
        return [str(output.asnumpy().tolist()) for output in data]

    def ping(self) -> str:
        """Return the version of MXNet."""
        return str(mx.__version__)

    @property
    def signature(self) -> Any:
        """The content of signature.json; None if the subclass did not call this constructor."""
        return getattr(self, "_signature", None)


def check_input_shape(inputs: list[Any], signature: Mapping[str, Any] | None) -> None:
    """Compare the inputs with the signature, if there is one.

    Compared are the number of inputs, their ranks, and all sizes except the batch and those that
    are 0 in the signature. The messages are those of 0.4 (docs/compatibility.md, 8.3).

    Raises:
        ValueError: they differ.
    """
    if signature is None:
        return
    expected = signature["inputs"]
    if len(inputs) != len(expected):
        raise ValueError(
            f"Input number mismatches with signature. {len(expected)} expected but got "
            f"{len(inputs)}."
        )
    for array, spec in zip(inputs, expected, strict=True):
        name, shape = spec["data_name"], spec["data_shape"]
        if len(array.shape) != len(shape):
            raise ValueError(
                f"Shape dimension of input {name} mismatches with signature. "
                f"{len(shape)} expected but got {len(array.shape)}."
            )
        pairs = list(zip(shape, array.shape, strict=True))[1:]
        if any(expected_size not in {0, size} for expected_size, size in pairs):
            raise ValueError(
                f"Input {name} has different shape with signature. "
                f"{shape} expected but got {array.shape}."
            )
