"""Write files that are made from others, or say which of them are old."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(
    about: str | None, texts: Callable[[], Mapping[Path, str]], arguments: list[str] | None
) -> int:
    """Write the files of ``texts``, or with ``--check`` say which are not up to date."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if one is old")
    options = parser.parse_args(arguments)
    stale = {
        file: text
        for file, text in texts().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    }
    if options.check and stale:
        names = ", ".join(str(file.relative_to(ROOT)) for file in stale)
        sys.stderr.write(f"Not up to date: {names}. Run `make generate`.\n")
        return 1
    for file, text in stale.items():
        file.write_text(text, encoding="utf-8")
    return 0


def with_block(file: Path, begin: str, end: str, body: str) -> str:
    """Return the text of a file with ``body`` between the lines ``begin`` and ``end``.

    Raises:
        ValueError: the file has no such lines.
    """
    return with_blocks(file, {begin: body}, end)


def with_blocks(file: Path, blocks: Mapping[str, str], end: str) -> str:
    """Return the text of a file with each body between its first line and the next line ``end``.

    Raises:
        ValueError: the file has no such lines.
    """
    text = file.read_text(encoding="utf-8")
    for begin, body in blocks.items():
        head, found, rest = text.partition(f"{begin}\n")
        _old, ended, tail = rest.partition(f"{end}\n")
        if not (found and ended):
            raise ValueError(f"{file}: no line {begin!r} followed by a line {end!r}")
        text = f"{head}{begin}\n{body}{end}\n{tail}"
    return text
