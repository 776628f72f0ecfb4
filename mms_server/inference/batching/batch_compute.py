"""Compute a batch of requests of one service, in the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mxnet as mx

from mms_server.inference import tensor_codec
from mms_server.inference.services.gluon_vision_service import GluonVisionService
from mms_server.inference.services.model_service import SingleNodeService, as_list
from mms_server.inference.services.module import bound_shape
from mms_server.inference.services.mxnet_model_service import MXNetBaseService
from mms_server.metrics.stage_timing import POSTPROCESS, PREPROCESS, stage

Row = Sequence[Any]
"""The network's inputs or outputs of one request: arrays with a batch of one."""


class BatchComputer(Protocol):
    """Computes batches of up to ``max_batch`` requests of a service."""

    max_batch: int

    @property
    def arrays(self) -> Callable[[Any], Any] | None:
        """Converts the outputs of a request to the result of :meth:`Servable.infer_arrays`.

        It is None if outputs cannot be converted; then such requests are not part of a batch.
        """

    def prepare(self, inputs: Any) -> Any:
        """Return the inputs of one request in the form that :meth:`compute` takes."""

    def fits(self, prepared: Any) -> bool:
        """Return whether a request with these prepared inputs can be part of a batch."""

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs of each request."""

    def compute_one(self, prepared: Any) -> Any:
        """Return the outputs of a request that cannot be part of a batch."""

    def answer(self, outputs: Any) -> Any:
        """Return the answer to a request with these outputs."""


class ServiceBatchComputer:
    """Computes batches by the service's own method ``handle_batch``.

    The method takes a list of arguments of ``inference``, and returns the list of their results.
    """

    arrays: Callable[[Any], Any] | None = None

    def __init__(self, service: Any, max_batch: int) -> None:
        self._service = service
        self.max_batch = max_batch

    def prepare(self, inputs: Any) -> Any:
        """Return the inputs unchanged."""
        return inputs

    def fits(self, prepared: Any) -> bool:
        """Return True: the service must accept any inputs."""
        del prepared
        return True

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the answers.

        Raises:
            TypeError: the service did not return a list.
        """
        answers = as_list(self._service.handle_batch(list(prepared)))
        if not isinstance(answers, list | tuple):
            raise TypeError(f"handle_batch returned {type(answers).__name__}, not a list")
        return answers

    def compute_one(self, prepared: Any) -> Any:
        """Return the answer to one request."""
        return self._service.inference(prepared)

    def answer(self, outputs: Any) -> Any:
        """Return the outputs, which are the answer."""
        return outputs


class NetworkBatchComputer:
    """Runs the network of a service on batches; the service's other steps run for each request."""

    def __init__(self, service: Any, network: Network) -> None:
        self._service = service
        self.network = network
        self.shapes = [bound_shape(spec["data_shape"]) for spec in service.signature["inputs"]]
        self.max_batch = 1
        # By number of requests: the sizes of the forwards that compute them.
        self._splits: list[list[int]] = [[], [1]]

    def plan(self, costs: Mapping[int, float]) -> None:
        """Use forwards of these sizes; ``costs`` are seconds by size, also of size 1."""
        self.max_batch = max(costs)
        self._splits = [split(count, costs) for count in range(self.max_batch + 1)]

    def prepare(self, inputs: Any) -> Any:
        """Return the inputs of the network."""
        with stage(PREPROCESS):
            return as_list(self._service._preprocess(inputs))  # noqa: SLF001 - the users' interface

    def fits(self, prepared: Any) -> bool:
        """Return whether these are arrays of one row each, with the shapes of the signature."""
        if not isinstance(prepared, list | tuple) or len(prepared) != len(self.shapes):
            return False
        return all(
            isinstance(array, mx.nd.NDArray) and array.shape == shape
            for array, shape in zip(prepared, self.shapes, strict=True)
        )

    def compute(self, prepared: Sequence[Row]) -> Sequence[Row]:
        """Return the outputs of each request."""
        outputs: list[Row] = []
        sizes = self._splits[len(prepared)]
        for size in sizes:
            rows = prepared[len(outputs) : len(outputs) + size]
            found = self.network.run(rows, size)
            # The next forward may overwrite these arrays.
            outputs += [[one.copy() for one in row] for row in found] if len(sizes) > 1 else found
        for output in outputs[-1]:
            output.wait_to_read()
        return outputs

    def compute_one(self, prepared: Any) -> Row:
        """Return the outputs of a request, computed by the service."""
        outputs: Row = as_list(self._service._inference(prepared))  # noqa: SLF001 - likewise
        return outputs

    def answer(self, outputs: Row) -> Any:
        """Return the service's answer."""
        with stage(POSTPROCESS):
            return as_list(self._service._postprocess(list(outputs)))  # noqa: SLF001 - likewise

    def arrays(self, outputs: Row) -> tuple[Any, bool]:
        """Return the outputs as numpy arrays and True; if that fails, the answer and False."""
        arrays = tensor_codec.arrays_of(list(outputs))
        return (arrays, True) if arrays is not None else (self.answer(outputs), False)


class Network(Protocol):
    """Runs a network on batches of rows; ``dtype`` is the type of its inputs."""

    dtype: Any

    def prepare(self, size: int) -> None:
        """Allocate what batches of this size need."""

    def forget(self, size: int) -> None:
        """Free what batches of this size need."""

    def run(self, rows: Sequence[Row], size: int) -> list[Row]:
        """Return the outputs of up to ``size`` rows; the next run overwrites them."""


class BoundNetwork:
    """The network of a Module, bound once per batch size; all sizes share the parameters."""

    def __init__(self, module: Any, ctx: Any) -> None:
        self._module = module
        self._ctx = ctx
        self._executors: dict[int, Any] = {1: _executor_of(module)}
        self._names = [desc.name for desc in module.data_shapes]
        self.dtype = self._executors[1].arg_dict[self._names[0]].dtype

    def prepare(self, size: int) -> None:
        """Bind the network for batches of this size.

        Raises:
            MXNetError: the network cannot be bound for this size.
        """
        if size in self._executors:
            return
        single, symbol = self._executors[1], self._module.symbol
        inputs = {desc.name: (size, *desc.shape[1:]) for desc in self._module.data_shapes}
        shapes, _outputs, _states = symbol.infer_shape(**inputs)
        arguments = {}
        for name, shape in zip(symbol.list_arguments(), shapes, strict=True):
            shared = single.arg_dict[name]
            # Inputs, and labels that inference does not use, have another shape for each size.
            differs = name in inputs or shared.shape != shape
            arguments[name] = mx.nd.zeros(shape, self._ctx, shared.dtype) if differs else shared
        # Only one executor runs at a time, so all can share their working memory.
        largest = self._executors[max(self._executors)]
        self._executors[size] = symbol.bind(
            self._ctx, arguments, grad_req="null", aux_states=single.aux_dict, shared_exec=largest
        )

    def forget(self, size: int) -> None:
        """Free the arrays of this size."""
        if size != 1:
            self._executors.pop(size, None)

    def run(self, rows: Sequence[Row], size: int) -> list[Row]:
        """Return the outputs of up to ``size`` rows."""
        executor = self._executors[size]
        for index, name in enumerate(self._names):
            target = executor.arg_dict[name]
            arrays = [row[index].as_in_context(self._ctx) for row in rows]
            dtypes = {array.dtype for array in arrays}
            if len(dtypes) > 1:
                arrays = [array.astype(target.dtype) for array in arrays]
            # Pad the batch with copies of the last row; their outputs are not used.
            arrays += arrays[-1:] * (size - len(arrays))
            if dtypes == {target.dtype}:
                mx.nd.concat(*arrays, dim=0, out=target)
            else:
                target[:] = mx.nd.concat(*arrays, dim=0)
        executor.forward(is_train=False)
        return _split_rows(executor.outputs, len(rows), size)


class UnboundNetwork:
    """A network that takes any batch size: of Gluon's vision service, and of ONNX Runtime."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self.dtype = mx.nd.zeros((1,)).dtype

    def prepare(self, size: int) -> None:
        """Do nothing."""

    def forget(self, size: int) -> None:
        """Do nothing."""

    def run(self, rows: Sequence[Row], size: int) -> list[Row]:
        """Return the outputs of the rows."""
        del size
        inputs = [mx.nd.concat(*column, dim=0) for column in zip(*rows, strict=True)]
        outputs = self._service._inference(inputs)  # noqa: SLF001 - the users' interface
        return _split_rows(as_list(outputs), len(rows), len(rows))


def _executor_of(module: Any) -> Any:
    return module._exec_group.execs[0]  # noqa: SLF001 - MXNet 1.9, its last release, has no API


def _split_rows(outputs: Sequence[Any], count: int, size: int) -> list[Row]:
    """Return the outputs of the first ``count`` rows of a batch.

    Raises:
        ValueError: an output does not have one row for each row of the batch.
    """
    if any(not output.shape or output.shape[0] != size for output in outputs):
        raise ValueError(f"the outputs of a batch of {size} have other sizes")
    return [[output[row : row + 1] for output in outputs] for row in range(count)]


def network_of(service: Any) -> Network | None:
    """Return the network of a service that runs it as the base classes do; None for any other."""
    cls = type(service)
    if getattr(cls, "inference", None) is not SingleNodeService.inference:
        return None
    inference = getattr(cls, "_inference", None)
    if inference is GluonVisionService._inference:  # noqa: SLF001 - the users' interface
        return UnboundNetwork(service)
    if inference is not MXNetBaseService._inference:  # noqa: SLF001 - likewise
        return None
    module = getattr(service, "mx_model", None)
    if getattr(module, "takes_any_batch", False):
        return UnboundNetwork(service)
    # A subclass of Module may do more in its forward.
    return BoundNetwork(module, service.ctx) if type(module) is mx.mod.Module else None


def split(count: int, costs: Mapping[int, float]) -> list[int]:
    """Return the batch sizes that compute ``count`` rows at the lowest total cost.

    ``costs`` are by batch size and include size 1. The last batch may be larger than its rows.
    """
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for rows in range(1, count + 1):
        tried = ((size, best[max(rows - size, 0)]) for size in costs)
        best.append(min(((cost + costs[size], [*sizes, size]) for size, (cost, sizes) in tried)))
    return sorted(best[count][1], reverse=True)
