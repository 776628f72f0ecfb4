"""Fields that were added later are left out while they have their default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from mms_server.core.added_fields import ADDED_LATER, digested


@dataclass(frozen=True)
class Inner:
    old: int = 0
    new: str = field(default="", metadata=ADDED_LATER)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    rows: Mapping[str, Inner] = field(default_factory=dict)
    listed: tuple[Inner, ...] = ()
    later: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    made: Inner = field(default_factory=Inner, metadata=ADDED_LATER)


def test_nothing_is_left_of_new_fields_with_their_defaults() -> None:
    known = {"inner": {"old": 0}, "rows": {"a": {"old": 1}}, "listed": [{"old": 2}]}
    assert digested(Outer(rows={"a": Inner(1)}, listed=(Inner(2),))) == known


@pytest.mark.parametrize(
    ("record", "name", "shown"),
    [
        (Outer(later=("x",)), "later", ["x"]),
        (Outer(made=Inner(3)), "made", {"old": 3}),
        (Outer(inner=Inner(new="x")), "inner", {"old": 0, "new": "x"}),
        (Outer(rows={"a": Inner(new="x")}), "rows", {"a": {"old": 0, "new": "x"}}),
    ],
)
def test_another_value_is_there(record: Outer, name: str, shown: Any) -> None:
    assert digested(record) == digested(Outer()) | {name: shown}


def test_without_later_fields_it_is_what_asdict_makes() -> None:
    @dataclass(frozen=True)
    class Plain:
        texts: Mapping[str, str]
        listed: list[int]
        number: float | None = None

    record = Plain({"a": "b"}, [1, 2])
    assert digested(record) == asdict(record)
