"""Groups: small models that share the processes of one release, so that the engine is there once.

A group is a release of several archives. What belongs to processes is the same for all of them: it
is given for one, or alike for several. Its models change together, since processes are what is
replaced, and whatever ends one of them ends the others' requests too: that is what it costs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mms_server.config.backend_names import MXNET
from mms_server.config.model_settings import ModelSettings
from mms_server.core.errors import ConfError

SHARED: Final = (
    "workers",
    "max_queue",
    "memory_high",
    "memory_max",
    "tasks_max",
    "cpu_weight",
    "unconfined",
    "keep_warm_s",
)
"""Settings that belong to processes, or to when they end."""

Lines = Mapping[tuple[str, str], int]


def spread(
    settings: Mapping[str, ModelSettings], lines: Lines, models: Collection[str], file: Path
) -> dict[str, ModelSettings]:
    """Return the settings with what one model of a group says of processes said of all of them.

    ``lines`` are the numbers of the lines, by model and setting.

    Raises:
        ConfError: a group is called like a model, its models differ in what they share, or one
            asks for what a group cannot do.
    """
    found = dict(settings)
    for group, members in _members(settings).items():
        if group in models:
            cause = f"{members[0]}.group={group} is the name of a model."
            fix = "give the group a name of its own."
            raise ConfError(file, lines[members[0], "group"], cause, fix=fix)
        for name in SHARED:
            _spread_one(found, lines, members, name, file)
        for model in members:
            _require_simple(found[model], lines, model, file)
    return found


def _members(settings: Mapping[str, ModelSettings]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for model, own in settings.items():
        if own.group:
            groups.setdefault(own.group, []).append(model)
    return groups


def _spread_one(
    found: dict[str, ModelSettings], lines: Lines, members: list[str], name: str, file: Path
) -> None:
    given = [model for model in members if getattr(found[model], name) is not None]
    if not given:
        return
    value = getattr(found[given[0]], name)
    for model in given:
        if getattr(found[model], name) != value:
            cause = (
                f"{model}.{name} differs from {given[0]}.{name}, but both are of the group "
                f"{found[model].group} and share its processes."
            )
            raise ConfError(file, lines[model, name], cause, fix="give it once, or alike.")
    for model in members:
        found[model] = replace(found[model], **{name: value})


def _require_simple(own: ModelSettings, lines: Lines, model: str, file: Path) -> None:
    what = f"but it is of the group {own.group}, whose"
    if (own.max_batch_size or 1) > 1:
        cause = f"{model}.max_batch_size={own.max_batch_size}, {what} requests are computed singly."
        raise ConfError(
            file, lines[model, "max_batch_size"], cause, fix=f"remove it, or {model}.group."
        )
    if own.max_batch_delay_ms:
        cause = f"{model}.max_batch_delay_ms={own.max_batch_delay_ms}, {what} requests do not wait."
        raise ConfError(
            file, lines[model, "max_batch_delay_ms"], cause, fix=f"remove it, or {model}.group."
        )
    if own.engine not in {None, MXNET}:
        cause = f"{model}.engine={own.engine}, {what} models are computed by {MXNET}."
        raise ConfError(file, lines[model, "engine"], cause, fix=f"remove it, or {model}.group.")
