"""Fields that a later version added to a record whose content is digested.

The digest of a record is its identity on all hosts. A new field with its default says nothing new,
so it must not change the digest: it is left out while it has its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final

ADDED_LATER: Final[Mapping[str, bool]] = {"added_later": True}
"""The metadata of such a field: ``field(default=0, metadata=ADDED_LATER)``."""


def digested(value: Any) -> Any:
    """Return a record as :func:`dataclasses.asdict` does, without later fields at their default.

    This holds for records inside of the record, too.
    """
    if is_dataclass(value):
        pairs = ((row, getattr(value, row.name)) for row in fields(value))
        return {row.name: digested(item) for row, item in pairs if not _is_left_out(row, item)}
    if isinstance(value, Mapping):
        return {key: digested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [digested(item) for item in value]
    return value


def _is_left_out(row: Field[Any], value: Any) -> bool:
    if not row.metadata.get("added_later", False):
        return False
    if row.default_factory is not MISSING:
        return bool(value == row.default_factory())
    return bool(value == row.default)
