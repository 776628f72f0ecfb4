"""In which steps a change goes through the hosts: the canaries first, then more at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mms_server.core.errors import MMSError

_PERCENT: Final = re.compile(r"([0-9]{1,3})%")
_HUNDRED: Final = 100


@dataclass(frozen=True)
class Step:
    """``number`` counts from 1; ``soaks`` says that the gate is asked before the next step."""

    number: int
    of: int
    hosts: tuple[str, ...]
    soaks: bool


def plan(
    hosts: Sequence[str],
    serial: Sequence[int | str],
    canaries: Sequence[str],
    soaks: int,
    passing: Collection[str] = (),
) -> list[Step]:
    """Return the steps: sizes are numbers of hosts or percent of all; the last one is repeated.

    ``canaries`` come first, in their order; the first ``soaks`` steps are watched. ``passing`` come
    last: hosts that an auto-scaling group may end while they are watched.

    Raises:
        MMSError: a size is no size, or a canary is not among the hosts.
    """
    unknown = [name for name in canaries if name not in hosts]
    if unknown:
        cause = f"{', '.join(unknown)}: to be changed first, but not among the hosts that answer."
        raise MMSError(cause, fix="correct mms_fleet_canaries, or bring the host up.")
    others = sorted((name for name in hosts if name not in canaries), key=passing.__contains__)
    left = [*canaries, *others]
    sizes = [_size(word, len(left)) for word in serial]
    if not sizes:
        raise MMSError("mms_serial is empty.", fix='write for instance [1, "25%", "100%"].')
    batches: list[tuple[str, ...]] = []
    while left:
        count = sizes[min(len(batches), len(sizes) - 1)]
        batches.append(tuple(left[:count]))
        del left[:count]
    return [
        Step(number, len(batches), batch, number <= soaks)
        for number, batch in enumerate(batches, start=1)
    ]


def failure(step: Step, outcomes: Mapping[str, str]) -> str:
    """Return why the steps end after this one, or an empty string.

    ``outcomes`` maps hosts to an error, empty for a host that is right. A host that is missing
    there was lost: the rest goes on without it, unless nobody of the step is left.
    """
    errors = [f"{host}: {outcomes[host]}" for host in step.hosts if outcomes.get(host)]
    if errors:
        return " ".join(errors)
    if not any(host in outcomes for host in step.hosts):
        names = ", ".join(step.hosts)
        return f"{names}: lost during the change; nobody of step {step.number} is left to judge by."
    return ""


def _size(word: int | str, total: int) -> int:
    text = str(word).strip()
    percent = _PERCENT.fullmatch(text)
    if percent and 0 < int(percent[1]) <= _HUNDRED:
        return max(1, math.floor(total * int(percent[1]) / _HUNDRED))
    if text.isdecimal() and int(text) > 0:
        return int(text)
    cause = f"{text!r} in mms_serial is neither a number of hosts nor a percentage."
    raise MMSError(cause, fix='write for instance [1, "25%", "100%"].')
