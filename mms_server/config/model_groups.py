"""Groups: small models that share the processes of one release, and so load the engine once.

A group is a release of several archives. Its models have the same processes: a setting of processes
is given for one model, or alike for several. Its models change together, because a change replaces
the processes, and a process that ends takes the requests of all models with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from mms_server.config.model_settings import ROWS, ModelSettings
from mms_server.config.setting_rows import Refused, Row, Shared
from mms_server.core.errors import ConfError

Lines = Mapping[tuple[str, str], int]


def spread(
    settings: Mapping[str, ModelSettings], lines: Lines, models: Collection[str], file: Path
) -> dict[str, ModelSettings]:
    """Return the settings, with the shared settings of a group given to all of its models.

    ``lines`` are the numbers of the lines, by model and setting.

    Raises:
        ConfError: a group has the name of a model, its models differ in a shared setting, or one
            has a setting that a group refuses.
    """
    found = dict(settings)
    for group, members in _members(settings).items():
        if group in models:
            cause = f"{members[0]}.group={group} is the name of a model."
            fix = "give the group a name of its own."
            raise ConfError(file, lines[members[0], "group"], cause, fix=fix)
        for row in ROWS:
            if isinstance(row.in_group, Shared):
                _spread_one(found, lines, members, row.name, file)
        for model in members:
            for row in ROWS:
                _check_allowed(row, found[model], lines, model, file)
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
                f"{model}.{name} differs from {given[0]}.{name}, but both models are in the group "
                f"{found[model].group} and share its processes."
            )
            fix = "give the setting for one of the models, or the same value for both."
            raise ConfError(file, lines[model, name], cause, fix=fix)
    for model in members:
        found[model] = replace(found[model], **{name: value})


def _check_allowed(row: Row, own: ModelSettings, lines: Lines, model: str, file: Path) -> None:
    value = getattr(own, row.name)
    if value is None or not isinstance(row.in_group, Refused) or value == row.in_group.value:
        return
    cause = (
        f"{model}.{row.name}={value}, but {model} is in the group {own.group}: in a group, "
        f"{row.in_group.reason}."
    )
    fix = f"remove the line, or {model}.group."
    raise ConfError(file, lines[model, row.name], cause, fix=fix)
