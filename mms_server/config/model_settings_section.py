"""``[Model Settings]`` of ``mms.conf``: settings of one model, in place of the host's.

MXNet Model Server 0.4 has no such section. Each line is ``<model>.<name>=<value>``; a value is the
rest of its line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mms_server.config import model_groups
from mms_server.config.model_settings import ROWS, ModelSettings
from mms_server.config.setting_rows import Row
from mms_server.core.errors import ConfError


def read_section(
    lines: Iterable[tuple[int, str]], models: Collection[str], file: Path
) -> Mapping[str, ModelSettings]:
    """Return the settings by model, of the models that have any.

    ``lines`` are (number, text) of the section's significant lines.

    Raises:
        ConfError: a line is no setting of a model of the file, repeats one, or has no effect.
    """
    found: dict[str, ModelSettings] = {}
    given: dict[tuple[str, str], int] = {}
    known = {row.name: row for row in ROWS}
    for number, line in lines:
        key, equals, value = (part.strip() for part in line.partition("="))
        model, dot, name = key.rpartition(".")
        if not (equals and dot):
            fix = "write <model>.<name>=<value>, one setting per line."
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
        needs = known[name].needs
        if needs and not needs.met(found[model]):
            cause = f"{model}.{name} has no effect on this model: {needs.otherwise}."
            fix = f"remove the line, or add one such as {model}.{needs.line}."
            raise ConfError(file, number, cause, fix=fix)
    return model_groups.spread(found, given, models, file)


def _value(row: Row, key: str, text: str, file: Path, number: int) -> Any:
    try:
        return row.type.read(text)
    except ValueError as error:
        cause = f"{key}={text} is out of range."
        raise ConfError(file, number, cause, fix=f"write {row.type.expected}.") from error
