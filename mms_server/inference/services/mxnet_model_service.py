"""The base service: a symbol with parameters, numbers in, numbers out (contract, section 10)."""

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
    """A model bound for inference with a batch of one.

    Attributes of the contract: ``ctx``, ``mx_model``, ``model_name``, ``param_filename``,
    ``_signature``, and ``labels`` if the archive has a synset.txt.
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
        """Return the engine's version."""
        return str(mx.__version__)

    @property
    def signature(self) -> Any:
        """The signature as in signature.json; None if a subclass's constructor left it out."""
        return getattr(self, "_signature", None)


def check_input_shape(inputs: list[Any], signature: Mapping[str, Any] | None) -> None:
    """Compare inputs with the signature, if any: number, rank, each non-zero size but the batch's.

    Raises:
        ValueError: they differ (contract, section 8.3).
    """
    if signature is None:
        return
    rows = signature["inputs"]
    if len(inputs) != len(rows):
        raise ValueError(
            f"Input number mismatches with signature. {len(rows)} expected but got {len(inputs)}."
        )
    for array, row in zip(inputs, rows, strict=True):
        name, shape = row["data_name"], row["data_shape"]
        if len(array.shape) != len(shape):
            raise ValueError(
                f"Shape dimension of input {name} mismatches with signature. "
                f"{len(shape)} expected but got {len(array.shape)}."
            )
        pairs = list(zip(shape, array.shape, strict=True))[1:]
        if any(wanted not in {0, size} for wanted, size in pairs):
            raise ValueError(
                f"Input {name} has different shape with signature. "
                f"{shape} expected but got {array.shape}."
            )
