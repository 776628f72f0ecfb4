"""The generator of docs/compatibility.md from the table: ``python -m tests.compat.document``."""

from __future__ import annotations

from pathlib import Path

from tests.compat.rows import Row, Verdict
from tests.compat.table import TABLE

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
_SECTIONS = {
    3: "Configuration file",
    4: "Control script",
    6: "Standalone server",
    7: "HTTP",
    8: "Archives",
    9: "Exporter",
    10: "Service classes",
    11: "Metrics",
    12: "Log",
    13: "GPUs",
    14: "Several models",
    15: "Generated clients",
    17: "Beyond 0.4: the routes of 1.x and the Open Inference Protocol",
}
_TABLE_HEAD = "| topic | statement | verdict | mms-hosts |\n|---|---|---|---|\n"
_HEAD = """\
# Compatibility with MXNet Model Server 0.4

Each line of the tables is one statement about the behaviour of MXNet Model Server 0.4 (the
original) that can be observed from outside. A test of `tests/compat` verifies each statement
(`make compat`). `python -m tests.compat.document` generates this page from the same table.

| verdict | meaning |
|---|---|
| **kept** | mms-hosts behaves as the original |
| **fixed** | the original's behaviour was a trap; the last column is the behaviour of mms-hosts |
| **beyond** | mms-hosts has this behaviour in addition; the original did not have it |

**Recordings.** Answers to requests are compared field by field with recorded answers of the
original: status, content type, CORS headers, `Allow`, and the JSON or the error page. The recorded
original is MXNet Model Server 0.4 with mxnet-mkl 1.2.1 on Python 2.7, served by its own server and
by gunicorn with gevent. `make compat-record` builds it and records it again.

**Numbers** agree within 1e-5, also for pictures. The archives of the original's own exporter
(`tests/compat/archives`) predict the same here, although five releases of the engine and its
picture decoder lie between. The bound holds for complete JPEG, PNG and grey pictures, also
stretched ones. It does not hold for a truncated JPEG: the original predicted from uninitialized
memory, with a different answer each time; mms-hosts refuses it.

{counts}
"""


def render() -> str:
    """Return the document."""
    counts = ", ".join(
        f"{sum(row.verdict is verdict for row in TABLE)} {verdict}" for verdict in Verdict
    )
    parts = [_HEAD.format(counts=f"{len(TABLE)} statements: {counts}.") + "\n"]
    numbers = [int(row.section.partition(".")[0]) for row in TABLE]
    for number in dict.fromkeys(numbers):
        rows = [row for row, own in zip(TABLE, numbers, strict=True) if own == number]
        parts.append(f"## {_SECTIONS[number]}\n\n{_TABLE_HEAD}")
        parts.append("".join(map(_line, rows)) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def _line(row: Row) -> str:
    cells = (row.section, row.statement, row.verdict.value, row.ours)
    return (
        "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |\n"
    )


if __name__ == "__main__":
    DOCUMENT.write_text(render())
