"""The names of a model's classes: synset.txt, one per line (docs/compatibility.md, 8.4)."""

from __future__ import annotations

from pathlib import Path

_FILE = "synset.txt"

NO_LABELS = (
    "Can't find labels attribute. Did you put synset.txt file into model archive or manually load "
    "class label file in __init__?"
)


def read_labels(directory: Path) -> list[str] | None:
    """Return the labels of an unpacked archive, stripped; None if it has no synset.txt."""
    file = directory / _FILE
    if not file.is_file():
        return None
    with file.open(encoding="utf-8") as stream:
        return [line.strip() for line in stream]
