"""The parser of the recap that ansible-playbook prints at its end."""

from __future__ import annotations

import re

_ROW = re.compile(r"^(\S+) +: (ok=.*)$", re.MULTILINE)


def recap_of(output: str) -> dict[str, dict[str, int]]:
    """Return the counts of each host by name: ok, changed, failed ..."""
    counts = {}
    # Warnings may follow the recap.
    for host, rest in _ROW.findall(output.partition("PLAY RECAP")[2]):
        pairs = (each.split("=") for each in rest.split())
        counts[host] = {name: int(count) for name, count in pairs}
    return counts
