"""In what hosts differ from what is wanted: the tasks that would change something, by kind.

Ansible's check mode is what knows the wanted state; a callback of the controller collects here what
it would change. Workers, which are forked from that process, see what was collected until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mms_server.core.formatting import table

_KINDS: Final[Mapping[str, str]] = {
    "apt": "packages",
    "command": "units",
    "copy": "files",
    "file": "files",
    "group": "users",
    "lineinfile": "files",
    "mms_models": "models",
    "mms_runtimes": "runtimes",
    "mms_wheelhouse": "runtimes",
    "mount": "mounts",
    "service": "units",
    "systemd": "units",
    "systemd_service": "units",
    "template": "files",
    "user": "users",
}
# What a command looks at, by its first word; others are about units.
_LOOKS: Final[Mapping[str, str]] = {"openssl": "certificates"}
_LONG: Final = 60


@dataclass(frozen=True)
class Difference:
    """``what`` is the thing that differs: a path, a unit, a package or the task's item."""

    host: str
    kind: str
    task: str
    what: str


class DriftCollector:
    """What was found in this run, in its order."""

    def __init__(self) -> None:
        self._found: list[Difference] = []

    def add(self, host: str, action: str, task: str, result: Mapping[str, Any]) -> None:
        """Take the result of a task that would change something; one of a loop item by item."""
        rows = result.get("results") if isinstance(result.get("results"), list) else None
        for row in rows or [result]:
            if row.get("changed"):
                difference = Difference(host, _kind(action, row), task, _what(row))
                if difference not in self._found:
                    self._found.append(difference)

    def found(self) -> list[Difference]:
        """Return all differences."""
        return list(self._found)

    def clear(self) -> None:
        """Forget them."""
        self._found.clear()


FOUND: Final = DriftCollector()
"""The one of this process."""


def as_data(found: Sequence[Difference], hosts: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Return the differences by host, with hosts that have none."""
    return {host: [asdict(row) for row in found if row.host == host] for host in hosts}


def as_lines(found: Sequence[Difference], hosts: Sequence[str]) -> list[str]:
    """Return the differences as a table, or one line that there are none."""
    if not found:
        return [f"No drift on {len(hosts)} hosts."]
    head = ("HOST", "KIND", "WHAT", "TASK")
    rows = [(row.host, row.kind, row.what[:_LONG], row.task) for row in found]
    return table([head, *rows]).splitlines()


def _kind(action: str, result: Mapping[str, Any]) -> str:
    command = result.get("cmd")
    if isinstance(command, list) and command and command[0] in _LOOKS:
        return _LOOKS[command[0]]
    return _KINDS.get(action.rpartition(".")[2], "other")


def _what(result: Mapping[str, Any]) -> str:
    item = result.get("item")
    for key in ("dest", "path", "name", "generation"):
        value = result.get(key)
        if isinstance(value, str) and value:
            return value
    return item if isinstance(item, str) else ""
