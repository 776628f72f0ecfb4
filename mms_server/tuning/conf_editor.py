"""Change settings of a model in the text of an ``mms.conf``, and leave all else as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_SECTION: Final = "[Model Settings]"
_HEADER: Final = re.compile(r"\s*\[[A-Za-z\s]")
_MARK: Final = "# mms tune: "


def with_settings(
    text: str, model: str, values: Mapping[str, str | None], evidence: Sequence[str]
) -> str:
    """Return the text with these settings of a model, and lines of evidence above them.

    What an earlier call wrote of this model is replaced; a section is added if there is none. A
    setting that is None is removed.
    """
    mark = f"{_MARK}{model}: "
    gone = [re.compile(rf"\s*{re.escape(f'{model}.{name}')}\s*=") for name in values]
    kept: list[str] = []
    inside, place = False, None
    for line in text.splitlines():
        if _HEADER.match(line):
            inside = "model settings" in line.lower()
        if inside and (line.startswith(mark) or any(each.match(line) for each in gone)):
            continue
        kept.append(line)
        if inside and place is None:
            place = len(kept)
    if place is None:
        kept += ["", _SECTION]
        place = len(kept)
    own = [f"{mark}{line}" for line in evidence]
    own += [f"{model}.{name}={value}" for name, value in values.items() if value is not None]
    return "\n".join([*kept[:place], *own, *kept[place:]]) + "\n"
