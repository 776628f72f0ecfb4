"""Compute several requests of a service at a time, in the engine's thread."""

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
"""One request's inputs, or outputs, of the network: arrays with a batch of one."""


class BatchComputer(Protocol):
    """A service that computes up to ``most`` requests at a time."""

    most: int

    @property
    def arrays(self) -> Callable[[Any], Any] | None:
        """Makes of a request's own outputs what :meth:`Servable.infer_arrays` returns."""

    def prepare(self, inputs: Any) -> Any:
        """Return what :meth:`compute` takes of one request."""

    def fits(self, prepared: Any) -> bool:
        """Return whether it can be part of a batch."""

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs of each request."""

    def compute_one(self, prepared: Any) -> Any:
        """Return the outputs of a request that does not fit."""

    def answer(self, own: Any) -> Any:
        """Return the answer to a request that has these outputs."""


class ServiceBatchComputer:
    """A service that says itself how requests are computed together: ``handle_batch``.

    It gets a list of what ``inference`` gets, and returns a list of what that returns.
    """

    arrays: Callable[[Any], Any] | None = None

    def __init__(self, service: Any, most: int) -> None:
        self._service = service
        self.most = most

    def prepare(self, inputs: Any) -> Any:
        """Return the inputs as they are."""
        return inputs

    def fits(self, prepared: Any) -> bool:
        """Return yes: it is the service's own affair."""
        del prepared
        return True

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the answers.

        Raises:
            TypeError: the service returned no list.
        """
        answers = as_list(self._service.handle_batch(list(prepared)))
        if not isinstance(answers, list | tuple):
            raise TypeError(f"handle_batch returned {type(answers).__name__}, not a list")
        return answers

    def compute_one(self, prepared: Any) -> Any:
        """Return the answer to one request."""
        return self._service.inference(prepared)

    def answer(self, own: Any) -> Any:
        """Return the answer as it is."""
        return own


class NetworkBatchComputer:
    """A service whose network is ours to run: prepared and finished by itself, for each request."""

    def __init__(self, service: Any, network: Network) -> None:
        self._service = service
        self.network = network
        self.shapes = [bound_shape(row["data_shape"]) for row in service.signature["inputs"]]
        self.most = 1
        self._parts: list[list[int]] = [[], [1]]

    def plan(self, costs: Mapping[int, float]) -> None:
        """Compute in batches of these sizes, of which 1 is one, each at its cost."""
        self.most = max(costs)
        self._parts = [split(count, costs) for count in range(self.most + 1)]

    def prepare(self, inputs: Any) -> Any:
        """Return the network's inputs."""
        with stage(PREPROCESS):
            return as_list(self._service._preprocess(inputs))  # noqa: SLF001 - the users' interface

    def fits(self, prepared: Any) -> bool:
        """Return whether these are the arrays of one row each that the signature says."""
        if not isinstance(prepared, list | tuple) or len(prepared) != len(self.shapes):
            return False
        return all(
            isinstance(array, mx.nd.NDArray) and array.shape == shape
            for array, shape in zip(prepared, self.shapes, strict=True)
        )

    def compute(self, prepared: Sequence[Row]) -> Sequence[Row]:
        """Return the outputs of each request."""
        outputs: list[Row] = []
        parts = self._parts[len(prepared)]
        for size in parts:
            rows = prepared[len(outputs) : len(outputs) + size]
            found = self.network.run(rows, size)
            # The next part may be computed into the same arrays.
            outputs += [[each.copy() for each in row] for row in found] if len(parts) > 1 else found
        for each in outputs[-1]:
            each.wait_to_read()
        return outputs

    def compute_one(self, prepared: Any) -> Row:
        """Return the outputs of a request by the service's own means."""
        outputs: Row = as_list(self._service._inference(prepared))  # noqa: SLF001 - likewise
        return outputs

    def answer(self, own: Row) -> Any:
        """Return the service's answer."""
        with stage(POSTPROCESS):
            return as_list(self._service._postprocess(list(own)))  # noqa: SLF001 - likewise

    def arrays(self, own: Row) -> tuple[Any, bool]:
        """Return the outputs as arrays and True, the answer and False if they cannot be."""
        found = tensor_codec.arrays_of(list(own))
        return (found, True) if found is not None else (self.answer(own), False)


class Network(Protocol):
    """Runs a network on rows; ``dtype`` is what it takes."""

    dtype: Any

    def prepare(self, size: int) -> None:
        """Make ready for batches of this size."""

    def forget(self, size: int) -> None:
        """Give back what that took."""

    def run(self, rows: Sequence[Row], size: int) -> list[Row]:
        """Return the outputs of up to ``size`` rows; they hold until the next run."""


class BoundNetwork:
    """The network of a Module, bound once for each size; the parameters are the Module's own."""

    def __init__(self, module: Any, ctx: Any) -> None:
        self._module = module
        self._ctx = ctx
        self._executors: dict[int, Any] = {1: _executor_of(module)}
        self._names = [row.name for row in module.data_shapes]
        self.dtype = self._executors[1].arg_dict[self._names[0]].dtype

    def prepare(self, size: int) -> None:
        """Bind the network for batches of this size.

        Raises:
            MXNetError: it cannot be bound.
        """
        if size in self._executors:
            return
        one, symbol = self._executors[1], self._module.symbol
        inputs = {row.name: (size, *row.shape[1:]) for row in self._module.data_shapes}
        shapes, _outputs, _states = symbol.infer_shape(**inputs)
        arguments = {}
        for name, shape in zip(symbol.list_arguments(), shapes, strict=True):
            known = one.arg_dict[name]
            # A label that nobody gives has the batch's size too.
            own = name in inputs or known.shape != shape
            arguments[name] = mx.nd.zeros(shape, self._ctx, known.dtype) if own else known
        # One runs at a time, so all compute in the same memory.
        largest = self._executors[max(self._executors)]
        self._executors[size] = symbol.bind(
            self._ctx, arguments, grad_req="null", aux_states=one.aux_dict, shared_exec=largest
        )

    def forget(self, size: int) -> None:
        """Free the arrays of this size."""
        if size != 1:
            self._executors.pop(size, None)

    def run(self, rows: Sequence[Row], size: int) -> list[Row]:
        """Return the outputs of up to ``size`` rows."""
        executor = self._executors[size]
        for place, name in enumerate(self._names):
            target = executor.arg_dict[name]
            given = [row[place].as_in_context(self._ctx) for row in rows]
            kinds = {array.dtype for array in given}
            if len(kinds) > 1:
                given = [array.astype(target.dtype) for array in given]
            # What pads the batch may be anything that the network can take.
            given += given[-1:] * (size - len(given))
            if kinds == {target.dtype}:
                mx.nd.concat(*given, dim=0, out=target)
            else:
                target[:] = mx.nd.concat(*given, dim=0)
        executor.forward(is_train=False)
        return _rows(executor.outputs, len(rows), size)


class UnboundNetwork:
    """A network that takes any number of rows: of Gluon's vision service, and of ONNX Runtime."""

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
        found = self._service._inference(inputs)  # noqa: SLF001 - the users' interface
        return _rows(as_list(found), len(rows), len(rows))


def _executor_of(module: Any) -> Any:
    return module._exec_group.execs[0]  # noqa: SLF001 - MXNet's last release has no other way


def _rows(outputs: Sequence[Any], count: int, size: int) -> list[Row]:
    """Return the rows of outputs.

    Raises:
        ValueError: they have not one row for each of the batch.
    """
    if any(not each.shape or each.shape[0] != size for each in outputs):
        raise ValueError(f"the outputs of a batch of {size} have other sizes")
    return [[each[row : row + 1] for each in outputs] for row in range(count)]


def network_of(service: Any) -> Network | None:
    """Return the network of a service that runs it as the base classes do, None of any other."""
    kind = type(service)
    if getattr(kind, "inference", None) is not SingleNodeService.inference:
        return None
    own = getattr(kind, "_inference", None)
    if own is GluonVisionService._inference:  # noqa: SLF001 - the users' interface
        return UnboundNetwork(service)
    if own is not MXNetBaseService._inference:  # noqa: SLF001 - likewise
        return None
    module = getattr(service, "mx_model", None)
    if getattr(module, "takes_any_batch", False):
        return UnboundNetwork(service)
    # Any other Module may do more in its forward.
    return BoundNetwork(module, service.ctx) if type(module) is mx.mod.Module else None


def split(count: int, costs: Mapping[int, float]) -> list[int]:
    """Return the sizes of batches that compute ``count`` rows at the lowest cost.

    ``costs`` are by size; there is one for 1. A batch may have room left.
    """
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for rows in range(1, count + 1):
        tried = ((size, best[max(rows - size, 0)]) for size in costs)
        best.append(min(((cost + costs[size], [*sizes, size]) for size, (cost, sizes) in tried)))
    return sorted(best[count][1], reverse=True)
