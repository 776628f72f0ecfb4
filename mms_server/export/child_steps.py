"""The steps of the exporter that need the engine or run foreign code: see :mod:`.child`."""

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
    """Return which base class the service in ``file`` is derived from.

    It goes by names: a file may bring a base class of its own, as 0.4's do.

    Raises:
        ServiceError: the file cannot be imported, or its class is derived of none or both.
    """
    found = leaf_class(load_service(file))
    kinds = {_BASES[base.__name__] for base in found.__mro__ if base.__name__ in _BASES}
    if len(kinds) != 1:
        amount = "both" if kinds else "neither"
        raise ServiceError(
            f"{file}: its class {found.__name__} is derived from {amount} of {', '.join(_BASES)}.",
            fix="derive the service class from one of them, or from MXNetVisionService or "
            "GluonVisionService.",
        )
    return kinds.pop()


def convert_onnx(onnx_file: str, symbol: str, parameters: str) -> list[str]:
    """Convert an ONNX model; return the names of its inputs."""
    return onnx_import.convert(Path(onnx_file), Path(symbol), Path(parameters))


def answer_samples(directory: str) -> list[Any]:
    """Return what the model in an unpacked archive answers to the samples that are there.

    Raises:
        MMSError: the model does not load, fails, or answers differently the second time.
    """
    samples = golden_samples.read(Path(directory))
    model = load_model(Path(directory).name, Path(directory))
    # The samples' own answers are looked at instead.
    warm_up(model, finite=False)
    answers = [golden_samples.answer_of(model, sample) for sample in samples]
    again = [
        golden_samples.Sample(sample.inputs, answer, sample.tolerance)
        for sample, answer in zip(samples, answers, strict=True)
    ]
    try:
        golden_samples.check(model, again)
    except ServiceError as error:
        raise ServiceError(
            f"the second time, the model answers differently: {error.cause}",
            fix="a golden sample needs a model without chance, time and memory.",
        ) from error
    return answers
