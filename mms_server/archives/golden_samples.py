"""Golden samples: inputs with their expected answers, in an archive or beside it.

In an archive they are ``mms-golden.json`` and one file for each input that is a picture; a server
that does not know them ignores these files. The compared answer is the JSON that a client gets;
numbers may differ by a tolerance. Samples beside an archive lie in a directory that has the
archive's name and ``.golden``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mms_server.archives.comparison import Tolerance, difference, not_finite, top_class
from mms_server.archives.signature import parse_object
from mms_server.core.errors import ArchiveError, GoldenError, ServiceError
from mms_server.core.files import FileTooLargeError, read_whole

PREFIX: Final = "mms-golden"
FILE_NAME: Final = f"{PREFIX}.json"
BESIDE: Final = ".golden"
"""Suffix of a directory of samples, after the archive's whole file name."""

MAX_SAMPLES: Final = 64
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_INPUT_BYTES: Final = 64 * 1024 * 1024

_FORMAT: Final = 1
_FIX: Final = "export the model again with --sample."


@dataclass(frozen=True)
class Sample:
    """One request and its answer.

    ``inputs`` has one element per input of the signature: bytes of a picture, or a list.
    ``expected`` is the answer as JSON, None until the model has computed it. ``tolerance`` is one
    for the whole answer, or one for each output. With ``top1`` the class with the highest
    probability of the first row must also be the expected one.
    """

    inputs: tuple[bytes | list[Any], ...]
    expected: Any = None
    tolerance: Tolerance | tuple[Tolerance, ...] = field(default_factory=Tolerance)
    top1: bool = False


def encode(samples: Sequence[Sample]) -> dict[str, bytes]:
    """Return the files, by name, that hold ``samples``.

    Raises:
        ArchiveError: there are more samples, or larger ones, than :func:`read` accepts.
    """
    files: dict[str, bytes] = {}
    rows = []
    for number, sample in enumerate(samples, 1):
        inputs: list[dict[str, Any]] = []
        for place, value in enumerate(sample.inputs, 1):
            if isinstance(value, bytes):
                name = f"{PREFIX}-{number}-{place}.bin"
                files[name] = value
                inputs.append({"file": name})
            else:
                inputs.append({"value": value})
        tolerance: object = (
            asdict(sample.tolerance)
            if isinstance(sample.tolerance, Tolerance)
            else [asdict(each) for each in sample.tolerance]
        )
        row = {"inputs": inputs, "expected": sample.expected, "tolerance": tolerance}
        rows.append({**row, "top1": True} if sample.top1 else row)
    text = json.dumps({"format": _FORMAT, "samples": rows}, sort_keys=True, allow_nan=False)
    _require(len(rows) <= MAX_SAMPLES, FILE_NAME, f"there are more than {MAX_SAMPLES} samples.")
    _require_size(FILE_NAME, len(text), MAX_FILE_BYTES)
    for name, value in files.items():
        _require_size(name, len(value), MAX_INPUT_BYTES)
    return {FILE_NAME: text.encode() + b"\n", **files}


def read(directory: Path) -> tuple[Sample, ...]:
    """Return the samples in ``directory``: an unpacked archive, or a directory of samples.

    Raises:
        ArchiveError: the samples are damaged, or exceed a limit.
    """
    file = directory / FILE_NAME
    if not file.is_file():
        return ()
    try:
        text = _bytes(file, MAX_FILE_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ArchiveError(file, "it is not UTF-8 text.", fix=_FIX) from error
    data = parse_object(text, directory, FILE_NAME)
    _require(data.get("format") == _FORMAT, file, f"its format is not {_FORMAT}.")
    rows = data.get("samples")
    _require(isinstance(rows, list), file, "it has no list of samples.")
    _require(len(data["samples"]) <= MAX_SAMPLES, file, f"it has over {MAX_SAMPLES} samples.")
    return tuple(_sample(file, row) for row in data["samples"])


def check(model: Any, samples: Iterable[Sample]) -> None:
    """Compare the model's answers with the expected ones.

    ``model`` is a service object, a LoadedModel, or a Servable, whose engine computes the answers.

    Raises:
        GoldenError: the model fails, or an answer differs or holds a NaN or an infinite number.
    """
    for number, sample in enumerate(samples, 1):
        try:
            found = _fault(sample, answer_of(model, sample))
        except ServiceError as error:
            found = error.cause
        if found:
            fix = "check model, parameters and service class; if the answer is the right one, "
            raise GoldenError(number, found, fix=fix + _FIX)


def _fault(sample: Sample, answer: Any) -> str:
    place = not_finite(answer)
    if place:
        return f"{place} holds a NaN or an infinite number."
    found = difference(sample.expected, answer, sample.tolerance)
    if found or not sample.top1:
        return found
    best, wanted = top_class(answer), top_class(sample.expected)
    return "" if best == wanted else f"the likeliest class is {best}; expected is {wanted}."


def answer_of(model: Any, sample: Sample) -> Any:
    """Return the answer of ``model`` (see :func:`check`) as a client gets it: after JSON.

    Raises:
        ServiceError: the model fails, or its answer cannot be JSON.
    """
    inputs = [value if isinstance(value, bytes) else _copy(value) for value in sample.inputs]
    engine = getattr(model, "engine", None)
    service = (model.model if engine is not None else model) if model else model
    service = getattr(service, "service", service)
    try:
        if engine is not None:
            found = engine.run(lambda: service.inference(inputs))
        else:
            found = service.inference(inputs)
        return _copy(found)
    except (Exception, SystemExit) as error:
        reason = error.__cause__ or error
        raise ServiceError(f"the model fails: {type(reason).__name__}: {reason}.") from error


def _copy(value: Any) -> Any:
    """Return a copy of the value, made by JSON: a service may change its inputs."""
    return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))


def _sample(file: Path, row: Any) -> Sample:
    _require(isinstance(row, dict) and isinstance(row.get("inputs"), list), file, "it is damaged.")
    inputs = tuple(_input(file, value) for value in row["inputs"])
    expected, top1 = row.get("expected"), row.get("top1", False)
    _require(isinstance(top1, bool), file, "top1 in it is not true or false.")
    _require(
        not top1 or top_class(expected) is not None,
        file,
        "a sample with top1 has no row of numbers or classes first in its expected answer.",
    )
    return Sample(inputs, expected, _tolerances(file, row.get("tolerance")), top1)


def _tolerances(file: Path, row: Any) -> Tolerance | tuple[Tolerance, ...]:
    if isinstance(row, list):
        return tuple(_tolerance(file, each) for each in row)
    return _tolerance(file, row)


def _tolerance(file: Path, row: Any) -> Tolerance:
    rows = row if isinstance(row, dict) else {}
    return Tolerance(_amount(file, rows.get("relative")), _amount(file, rows.get("absolute")))


def _amount(file: Path, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(number and math.isfinite(value) and value >= 0, file, "it has no tolerance.")
    return float(value)


def _input(file: Path, row: Any) -> bytes | list[Any]:
    keys = set(row) if isinstance(row, dict) else set()
    if keys == {"value"} and isinstance(row["value"], list):
        value: list[Any] = row["value"]
        return value
    name = row["file"] if keys == {"file"} else None
    flat = isinstance(name, str) and name.startswith(PREFIX) and "/" not in name
    _require(flat and "\0" not in str(name), file, "an input in it is neither a list nor a file.")
    return _bytes(file.with_name(str(name)), MAX_INPUT_BYTES)


def _bytes(file: Path, most: int) -> bytes:
    try:
        return read_whole(file, most)
    except OSError as error:
        raise ArchiveError(file, f"it cannot be read: {error.strerror}.", fix=_FIX) from error
    except FileTooLargeError as error:
        raise _too_large(file, most) from error


def _require_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise _too_large(name, most)


def _too_large(where: Path | str, most: int) -> ArchiveError:
    return ArchiveError(where, f"it has more than {most} bytes.", fix=_FIX)


def _require(holds: object, where: Path | str, cause: str) -> None:
    if not holds:
        raise ArchiveError(where, cause, fix=_FIX)
