"""The columns of ``mms status`` and of a fleet's table (playbooks/status.yml), in one list.

A row is one model of ``mms status --json``; its fields are those of
:class:`mms_server.deploy.operate.ModelStatus`. A new column is a field there and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mms_server.config.backend_names import MXNET
from mms_server.core.formatting import Column, duration, size

Row = Mapping[str, Any]
_DIGITS: Final = 8


@dataclass(frozen=True)
class StatusColumn(Column):
    """A column of ``mms status``. ``in_fleet`` makes its cell in a fleet's table, None for none."""

    in_fleet: Callable[[Row], str] | None = None


def _text(name: str) -> Callable[[Row], str]:
    # A host with another version may not have the field.
    return lambda row: str(row.get(name, "-"))


def _version(row: Row) -> str:
    return str(row["release"]).rpartition(".")[2][:_DIGITS]


def _memory(row: Row) -> str:
    used = row.get("memory_bytes")
    return "-" if used is None else size(used)


def _up(row: Row) -> str:
    seconds = row.get("up_s")
    return "-" if seconds is None else duration(seconds)


def _warm(row: Row) -> str:
    left = (f"{name} ({duration(seconds)})" for name, seconds in row["warm"].items())
    return ", ".join(left) or "-"


COLUMNS: Final = (
    StatusColumn("MODEL", _text("model"), _text("model")),
    StatusColumn("RELEASE", _text("release"), _version),
    StatusColumn("STATE", _text("state")),
    StatusColumn(
        "READY",
        lambda row: "yes" if row["ready"] else "no",
        lambda row: "yes" if row["ready"] else "NO",
    ),
    StatusColumn("WORKERS", _text("workers"), _text("workers")),
    StatusColumn("MEMORY", _memory, _memory),
    StatusColumn("UP", _up, _up),
    StatusColumn("RESTARTS", _text("restarts")),
    StatusColumn("WARM", _warm),
)

FLEET_COLUMNS: Final = tuple(
    Column(each.heading, each.in_fleet) for each in COLUMNS if each.in_fleet
)

NOTES: Final[tuple[Callable[[Row], str], ...]] = (
    lambda row: "" if row["ready"] else f"{row['model']}: {row['reason']}",
    lambda row: f"{row['model']} runs {row['unconfined']}" if row["unconfined"] else "",
    lambda row: "" if row["engine"] == MXNET else f"{row['model']} is computed by {row['engine']}",
)
"""Lines below the table of ``mms status``; each is made for each model, if it is not empty."""
