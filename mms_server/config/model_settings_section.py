"""``[Model Settings]`` of ``mms.conf``: what one model has otherwise than the host's settings say.

A section of our own, beside those of MXNet Model Server 0.4. Each line is
``<model>.<name>=<value>``; a value is the rest of its line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import Field, replace
from pathlib import Path
from typing import Any

from mms_server.config import backend_names, model_groups
from mms_server.config.model_settings import ModelSettings, rows
from mms_server.core.errors import ConfError


def read_section(
    lines: Iterable[tuple[int, str]], models: Collection[str], file: Path
) -> Mapping[str, ModelSettings]:
    """Return the settings by model, of those models that have any.

    ``lines`` are (number, text) of the section's significant lines.

    Raises:
        ConfError: a line is no setting of a model of the file, or says one a second time.
    """
    found: dict[str, ModelSettings] = {}
    given: dict[tuple[str, str], int] = {}
    known = {row.name: row for row in rows()}
    for number, line in lines:
        key, equals, value = (part.strip() for part in line.partition("="))
        model, dot, name = key.rpartition(".")
        if not (equals and dot):
            fix = "write <model>.<name>=<value>, one setting a line."
            raise ConfError(file, number, f"{line!r} is no setting of a model.", fix=fix)
        if model not in models:
            cause = f"{model!r} is not a model of --models."
            raise ConfError(file, number, cause, fix=f"use one of {', '.join(models)}.")
        if name not in known:
            cause = f"{name} is not a setting of a model."
            raise ConfError(file, number, cause, fix=f"use one of {', '.join(known)}.")
        before = found.get(model, ModelSettings())
        if getattr(before, name) is not None:
            cause = f"{model}.{name} is given twice."
            raise ConfError(file, number, cause, fix="keep one of the lines.")
        found[model] = replace(before, **{name: _value(known[name], key, value, file, number)})
        given[model, name] = number
    for (model, name), number in given.items():
        if name == "engine_tolerance" and found[model].engine in {None, backend_names.MXNET}:
            cause = (
                f"{model}.engine_tolerance has no effect: the model's engine is "
                f"{backend_names.MXNET}."
            )
            raise ConfError(
                file, number, cause, fix=f"add a line {model}.engine=..., or remove it."
            )
        if name == "max_batch_delay_ms" and found[model].max_batch_size == 1:
            cause = f"{model}.max_batch_delay_ms is of no use: the model's batches are of 1."
            fix = f"remove it, or give {model}.max_batch_size as 2 or more."
            raise ConfError(file, number, cause, fix=fix)
    return model_groups.spread(found, given, models, file)


def _value(row: Field[Any], key: str, text: str, file: Path, number: int) -> Any:
    try:
        return row.metadata["read"](text)
    except ValueError as error:
        cause = f"{key}={text} is out of range."
        fix = f"write {row.metadata['expected']}."
        raise ConfError(file, number, cause, fix=fix) from error
