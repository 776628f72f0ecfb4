"""Edit the settings of one model in the text of an ``mms.conf``; all other lines are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_SECTION: Final = "[Model Settings]"
_HEADER: Final = re.compile(r"\s*\[[A-Za-z\s]")
_MARK: Final = "# mms tune: "


def set_settings(
    text: str, model: str, values: Mapping[str, str | None], evidence: Sequence[str]
) -> str:
    """Return the text with these settings of a model, and ``evidence`` as comments above them.

    Earlier values and evidence of this model are removed. A setting with the value None is only
    removed. The section ``[Model Settings]`` is added if it is missing.
    """
    mark = f"{_MARK}{model}: "
    replaced = [re.compile(rf"\s*{re.escape(f'{model}.{name}')}\s*=") for name in values]
    lines: list[str] = []
    in_section, position = False, None
    for line in text.splitlines():
        if _HEADER.match(line):
            in_section = "model settings" in line.lower()
        if in_section and (line.startswith(mark) or any(each.match(line) for each in replaced)):
            continue
        lines.append(line)
        if in_section and position is None:
            position = len(lines)
    if position is None:
        lines += ["", _SECTION]
        position = len(lines)
    new = [f"{mark}{line}" for line in evidence]
    new += [f"{model}.{name}={value}" for name, value in values.items() if value is not None]
    return "\n".join([*lines[:position], *new, *lines[position:]]) + "\n"
