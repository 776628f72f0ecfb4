"""Print the total of all test reports; the last line of ``make test``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(arguments: list[str] | None = None) -> int:
    """Read the JUnit files ``DIRECTORY/*.xml`` and print ``N passed, N failed, N skipped``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    total = failed = skipped = 0
    for report in sorted(options.directory.glob("*.xml")):
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - written by pytest
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    sys.stdout.write(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped\n")
    return 1 if failed or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
