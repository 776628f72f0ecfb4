"""Write docs/compatibility.md from the table: ``python -m tests.compat.document``."""

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
    14: "Several models",
    17: "Beyond 0.4: the routes of 1.x and the Open Inference Protocol",
}
_HEAD = """\
# Compatibility with MXNet Model Server 0.4

One line per statement that can be checked from outside, each proven by a test of `tests/compat`
(`make compat`). This page is written from that table by `python -m tests.compat.document`.

* **kept**: we do what the original did. Where that is an answer to a request, it is compared field
  by field (status, content type, CORS headers, `Allow`, JSON or error page) with what the original
  answered: MXNet Model Server 0.4 with mxnet-mkl 1.2.1 on Python 2.7, by its own server and by
  gunicorn with gevent. `make compat-record` builds it and records it again.
* **fixed**: the original's behaviour was a trap; the line says what we do instead.
* **beyond**: the original had no such thing.

Numbers agree within 1e-5, for pictures as well: the archives of the original's own exporter
(`tests/compat/archives`) predict the same here, although five releases of the engine and its
picture decoder lie between. The bound holds for complete JPEG, PNG and grey pictures, also
stretched ones. It does not hold for half a JPEG: the original predicted from memory that nothing
had written, another answer each time, and we refuse it.

{counts}
"""


def render() -> str:
    """Return the document."""
    counts = ", ".join(
        f"{sum(row.verdict is verdict for row in TABLE)} {verdict}" for verdict in Verdict
    )
    parts = [_HEAD.format(counts=f"{len(TABLE)} statements: {counts}.") + "\n"]
    for number, title in _SECTIONS.items():
        rows = [row for row in TABLE if int(row.section.partition(".")[0]) == number]
        parts.append(f"## {title}\n\n| § | statement | | here |\n|---|---|---|---|\n")
        parts.append("".join(map(_line, rows)) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def _line(row: Row) -> str:
    cells = (row.section, row.statement, row.verdict.value, row.ours)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(render())
