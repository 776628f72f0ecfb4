"""Steps of the exporter that need MXNet or run foreign code; see :mod:`.child_process`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mms_server.archives import golden_samples
from mms_server.core.errors import ServiceError
from mms_server.export import onnx_import
from mms_server.export.child_process import GLUON, SYMBOLIC
from mms_server.inference.model_loader import leaf_class, load_model
from mms_server.inference.services.model_service import load_service
from mms_server.inference.warmup import warm_up

_BASES = {"MXNetBaseService": SYMBOLIC, "GluonImperativeBaseService": GLUON}


def service_kind(file: str) -> str:
    """Return SYMBOLIC or GLUON, by the base class of the service class in ``file``.

    Base classes are compared by name, because a service file may contain a copy of a base class, as
    the archives of 0.4's exporter do.

    Raises:
        ServiceError: the file cannot be imported, or its class is derived from neither or both base
            classes.
    """
    cls = leaf_class(load_service(file))
    kinds = {_BASES[base.__name__] for base in cls.__mro__ if base.__name__ in _BASES}
    if len(kinds) != 1:
        amount = "both" if kinds else "neither"
        raise ServiceError(
            f"{file}: its class {cls.__name__} is derived from {amount} of {', '.join(_BASES)}.",
            fix="derive the service class from one of them, or from MXNetVisionService or "
            "GluonVisionService.",
        )
    return kinds.pop()


def convert_onnx(onnx_file: str, symbol: str, parameters: str) -> list[str]:
    """Write the symbol and parameters of an ONNX model; return the names of its inputs."""
    return onnx_import.convert(Path(onnx_file), Path(symbol), Path(parameters))


def answer_samples(directory: str) -> list[Any]:
    """Return the model's answers to the samples in an unpacked archive.

    Raises:
        MMSError: the model does not load, fails, or gives a different answer the second time.
    """
    samples = golden_samples.read(Path(directory))
    model = load_model(Path(directory).name, Path(directory))
    # Whether outputs are finite is not checked on zeros, because real inputs follow.
    warm_up(model, finite=False)
    answers = [golden_samples.answer_of(model, sample) for sample in samples]
    answered = [
        golden_samples.Sample(sample.inputs, answer, sample.tolerance)
        for sample, answer in zip(samples, answers, strict=True)
    ]
    try:
        golden_samples.check(model, answered)
    except ServiceError as error:
        raise ServiceError(
            f"the second time, the model answers differently: {error.cause}",
            fix="make answers independent of random numbers, the time, and earlier requests; or "
            "export without --sample.",
        ) from error
    return answers
