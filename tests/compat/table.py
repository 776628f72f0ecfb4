"""The complete table, in the order of the contract's sections."""

from __future__ import annotations

from tests.compat import (
    rows_after,
    rows_archives,
    rows_commands,
    rows_conf,
    rows_gluon,
    rows_http,
    rows_operating,
    rows_services,
)
from tests.compat.rows import Row


def _key(row: Row) -> list[int]:
    return [int(number) for number in row.section.split(".")]


TABLE: tuple[Row, ...] = tuple(
    sorted(
        (
            *rows_conf.ROWS,
            *rows_commands.ROWS,
            *rows_http.ROWS,
            *rows_archives.ROWS,
            *rows_services.ROWS,
            *rows_gluon.ROWS,
            *rows_operating.ROWS,
            *rows_after.ROWS,
        ),
        key=_key,
    )
)
MODELS = ("custom", "gluon", "pair", "photo", "picture_out", "single")
