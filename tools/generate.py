"""Write all files that are made from others: ``generate.py [--check]``, or ``make generate``."""

from __future__ import annotations

import sys

from tools import (
    command_tables,
    operations_tables,
    refusal_tables,
    role_defaults,
    role_readmes,
    setting_tables,
)

TOOLS = (
    setting_tables,
    refusal_tables,
    operations_tables,
    command_tables,
    role_defaults,
    role_readmes,
)
"""In this order: the READMEs of roles are made from files that the others write."""


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` say which are not up to date."""
    codes: list[int] = [tool.main(arguments) for tool in TOOLS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
